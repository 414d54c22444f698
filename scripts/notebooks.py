"""Runs the notebooks of notebooks/ and saves them with their outputs; draws the thumbnails of their README."""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from PIL import Image

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
THUMBNAILS = FOLDER / "thumbnails"
WIDTH = 480
HEIGHT = 300
COLORS = 64
MOST_BYTES = 500_000
TIMEOUT_SECONDS = 120


def main() -> int:
    """Runs the task that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["run", "thumbnails"], help="execute and save, or draw the thumbnails anew")
    parser.add_argument("names", nargs="*", help="notebooks, without .ipynb; all of them if none is given")
    arguments = parser.parse_args()
    paths = [FOLDER / f"{name}.ipynb" for name in arguments.names] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        if arguments.task == "run":
            run(path)
        draw_thumbnail(path)
    return 0


def run(path: Path) -> None:
    """Executes a notebook in its own kernel, in an empty folder, and saves it with the outputs."""
    notebook = nbformat.read(path, as_version=4)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # Without the user's start-up files, the outputs depend only on the notebook.
        os.environ["IPYTHONDIR"] = folder
        resources = {"metadata": {"path": folder}}
        client = nbclient.NotebookClient(
            notebook, kernel_name="python3", timeout=TIMEOUT_SECONDS, resources=resources, record_timing=False
        )
        client.execute()
    for cell in notebook.cells:
        cell.pop("execution_count", None)
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = merged(cell.outputs)
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)
    size = path.stat().st_size
    print(f"{path.name}: {time.monotonic() - start:.1f} s, {size / 1000:.0f} kB", flush=True)
    if size > MOST_BYTES:
        sys.exit(f"{path.name} is larger than {MOST_BYTES} bytes: make its pictures smaller")


def merged(outputs: list[Any]) -> list[Any]:
    """Returns the outputs with consecutive printed texts joined, and without execution counts."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "execute_result":
            output.execution_count = None
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def draw_thumbnail(path: Path) -> None:
    """Writes a small copy of the picture in the cell with the tag `thumbnail`, or of the first picture."""
    notebook = nbformat.read(path, as_version=4)
    pictures = [
        ("thumbnail" in cell.metadata.get("tags", []), output.data["image/png"])
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    if not pictures:
        sys.exit(f"{path.name} has no picture: run it first")
    chosen = next((data for tagged, data in pictures if tagged), pictures[0][1])
    with Image.open(io.BytesIO(base64.b64decode(chosen))) as picture:
        small = shrunk(picture)
    THUMBNAILS.mkdir(exist_ok=True)
    small.save(THUMBNAILS / f"{path.stem}.png", optimize=True)


def shrunk(picture: Any) -> Any:
    """Returns the picture in the size of a thumbnail, with few colours, and transparent for light and dark pages."""
    picture = picture.convert("RGBA")
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return picture.quantize(COLORS, method=Image.Quantize.FASTOCTREE)


if __name__ == "__main__":
    sys.exit(main())
