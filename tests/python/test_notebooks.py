"""The notebooks run from top to bottom, and print what is saved in them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

nbformat = pytest.importorskip("nbformat", reason="nbformat is missing: the notebooks are not run")
nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: the notebooks are not run")
pytest.importorskip("ipykernel", reason="ipykernel is missing: the notebooks are not run")
pytest.importorskip("matplotlib", reason="matplotlib is missing: the notebooks are not run")
pytest.importorskip("nats", reason="nats-py is missing: the notebooks are not run")


def told(cell: Any) -> list[str]:
    """What a cell shows: printed text and values as they are, of a picture only that there is one."""
    shown = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        picture = next((kind for kind in data if kind.startswith("image/")), None)
        shown.append(picture or output.get("text") or data.get("text/plain", output.output_type))
    return shown


def run(notebook: Any, folder: Path) -> Any:
    """Execute a copy in a kernel of its own."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(fresh, kernel_name="python3", timeout=120, resources=resources).execute()
    return fresh


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_what_is_saved_in_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only the kernel of this very environment, and no start-up files of whoever runs the test.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    saved = nbformat.read(path, as_version=4)
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert any(told(cell) for cell in code), "saved without its outputs"

    fresh = run(saved, tmp_path)

    for before, after in zip(saved.cells, fresh.cells, strict=True):
        assert told(after) == told(before), after.source
