"""The notebooks run from top to bottom, give the outputs that are saved in them, and leak nothing."""

from __future__ import annotations

import copy
import importlib.metadata
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 500_000

nbformat = pytest.importorskip("nbformat", reason="nbformat is missing: the notebooks are not run")
nbclient = pytest.importorskip("nbclient", reason="nbclient is missing: the notebooks are not run")
pytest.importorskip("ipykernel", reason="ipykernel is missing: the notebooks are not run")
pytest.importorskip("matplotlib", reason="matplotlib is missing: the notebooks are not run")
pytest.importorskip("nats", reason="nats-py is missing: the notebooks are not run")

# Possible leaks of a notebook: threads of a server, listening ports, child processes. These two cells run before and
# after the notebook; the second prints what the first did not find.
LIVING = """
import psutil as _psutil, pathlib as _pathlib

def _living():
    me = _psutil.Process()
    tasks = _pathlib.Path("/proc/self/task").glob("*/comm")
    threads = {f"thread {one.read_text().strip()}" for one in tasks}
    ports = {f"port {one.laddr.port}" for one in me.net_connections("tcp") if one.status == _psutil.CONN_LISTEN}
    return {one for one in threads if "stonechat" in one} | ports | {f"process {one.pid}" for one in me.children(True)}

_before = _living()
"""
LEFT = "print(*sorted(_living() - _before))"


def told(cell: Any) -> list[str]:
    """Returns the outputs of a cell for comparison: texts and values unchanged, pictures only as their type.

    In a cell with the tag `varies`, numbers are measured values, so all numbers count as equal.
    """
    shown = []
    # A kernel may split printed text into any number of outputs, so they are joined.
    for kind, outputs in itertools.groupby(cell.get("outputs", []), key=lambda output: output.output_type):
        if kind == "stream":
            shown.append("".join(output.text for output in outputs))
            continue
        for output in outputs:
            data = output.get("data", {})
            picture = next((kind for kind in data if kind.startswith("image/")), None)
            shown.append(picture or data.get("text/plain", kind))
    if "varies" in cell.metadata.get("tags", []):
        return [re.sub(r"\s*\d[\d,.]*", " #", text) for text in shown]
    return shown


def run(notebook: Any, folder: Path) -> tuple[Any, str]:
    """Runs a copy of the notebook in its own kernel; returns the copy and the list of leaks."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    first, last = nbformat.v4.new_code_cell(LIVING), nbformat.v4.new_code_cell(LEFT)
    fresh.cells = [first, *fresh.cells, last]
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(fresh, kernel_name="python3", timeout=120, resources=resources).execute()
    fresh.cells = fresh.cells[1:-1]
    return fresh, "".join(told(last)).strip()


def is_installed(package: str) -> bool:
    """Returns whether a package with this name is installed."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_shows_what_is_saved_in_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = nbformat.read(path, as_version=4)
    for package in saved.metadata.get("stonechat", {}).get("requires", []):
        if not is_installed(package):
            pytest.skip(f"{package} is missing: the notebook prints something else without it")
    code = [cell for cell in saved.cells if cell.cell_type == "code"]
    assert any(told(cell) for cell in code), "saved without its outputs"
    # Use only the kernel of this environment, and no start-up files of the user.
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work, temporary = tmp_path / "work", tmp_path / "temporary"
    for folder in (work, temporary):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    fresh, left = run(saved, work)

    for before, after in zip(saved.cells, fresh.cells, strict=True):
        assert told(after) == told(before), after.source
    assert not left
    assert [*work.iterdir(), *temporary.iterdir()] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_small_and_listed_with_a_thumbnail(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    readme = (FOLDER / "README.md").read_text()
    assert f"]({path.name})" in readme
    assert f'src="thumbnails/{path.stem}.png"' in readme
    assert (FOLDER / "thumbnails" / f"{path.stem}.png").is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebook_lead_to_files(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    targets = re.findall(r"\]\(([^)#\s]+)", "\n".join(texts))
    missing = [target for target in targets if "://" not in target and not (FOLDER / target).exists()]
    assert not missing
