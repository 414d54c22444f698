"""Converts notebooks to Markdown with their saved outputs; nothing is run."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDINGS = {"image/png": "png", "image/jpeg": "jpg"}


def as_markdown(notebook: Path, repository: str) -> tuple[str, dict[str, bytes]]:
    """Returns a notebook's page, and its pictures by their paths below the page's folder."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts += _outputs(cell, notebook.stem, pictures)
        else:
            parts.append(source)
    # Insert the link below the title, which is the first line of the first cell.
    title, _, rest = parts[0].partition("\n")
    link = f"[This notebook in the repository]({repository}/notebooks/{notebook.name}), to download and to run."
    parts[0] = f"{title}\n\n{link}\n{rest}"
    return "\n\n".join(parts) + "\n", pictures


def _outputs(cell: dict[str, Any], folder: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """Yields the outputs of a cell as Markdown, and adds its pictures to `pictures`."""
    for number, output in enumerate(cell["outputs"]):
        data = output.get("data", {})
        kind = next((kind for kind in ENDINGS if kind in data), None)
        if kind is None:
            text = "".join(output.get("text") or data["text/plain"]).rstrip("\n")
            yield f"```text\n{text}\n```"
            continue
        path = f"{folder}/{cell['id']}-{number}.{ENDINGS[kind]}"
        pictures[path] = base64.b64decode(data[kind])
        width = output["metadata"].get(kind, {}).get("width")
        yield f"![Picture drawn by the code above]({path})" + (f"{{ width={width} }}" if width else "")
