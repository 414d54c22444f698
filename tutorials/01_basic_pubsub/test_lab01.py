"""Runs every step of this lab's README, and checks what the steps can't show."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from labkit import LabRun, LabServer, Readme, Section

LAB = Path(__file__).parent
README = Readme(LAB / "README.md")
SCRIPTS = sorted(
    str(path.relative_to(LAB))
    for path in (*LAB.glob("*.py"), *LAB.glob("solutions/*.py"))
    if not path.name.startswith("test_") and "__main__" in path.read_text(encoding="utf-8")
)
WITH_ARGUMENTS = [name for name in SCRIPTS if "argparse" in (LAB / name).read_text("utf-8")]


@pytest.mark.parametrize("section", README.sections, ids=str)
def test_section(section: Section, lab_run: LabRun) -> None:
    """Every command of the section does what the README says."""
    lab_run(section)


def test_listings_are_true() -> None:
    """Every listing is an excerpt of the file that it names."""
    assert README.check_listings() > 0


@pytest.mark.parametrize("script", WITH_ARGUMENTS)
def test_script_explains_itself(script: str) -> None:
    """``--help`` begins with what the script is for."""
    done = subprocess.run(
        [sys.executable, script, "--help"],
        cwd=LAB,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    purpose = (LAB / script).read_text(encoding="utf-8").split('"""')[1]
    assert purpose in done.stdout


def test_every_script_is_used() -> None:
    """The README runs each script: none is left over."""
    commands = [command.text for section in README.sections for block in section.blocks for command in block.commands()]
    unused = [name for name in SCRIPTS if not any(f"python {name}" in text for text in commands)]
    assert unused == []


def test_go_compiles(tmp_path: Path) -> None:
    """Producer and subscriber in Go build and pass vet."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is missing: the Go snippets are not compiled")
    for command in (["build", "-o", str(tmp_path), "./..."], ["vet", "./..."]):
        done = subprocess.run(
            [go, *command],
            cwd=LAB / "go",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    assert {path.stem for path in tmp_path.iterdir()} == {"publisher", "subscriber"}


def test_go_subscriber_and_publisher_refuse_a_wrong_call(lab_server: LabServer, tmp_path: Path) -> None:
    """Without arguments they explain themselves instead of connecting."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is missing: the Go snippets are not compiled")
    subprocess.run([go, "build", "-o", tmp_path, "./..."], cwd=LAB / "go", check=True)
    for name in ("publisher", "subscriber"):
        done = subprocess.run(
            [tmp_path / name],
            env={**os.environ, **lab_server.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert f"usage: {name} SUBJECT" in done.stderr


def pictures() -> ModuleType:
    """The script that draws the picture, as a module."""
    spec = importlib.util.spec_from_file_location("subjects", LAB / "pictures" / "subjects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_is_up_to_date() -> None:
    """``python pictures/subjects.py`` would write what is there."""
    drawn = (LAB / "pictures" / "subjects.svg").read_text(encoding="utf-8")
    assert drawn == pictures().draw()


def test_picture_tells_what_the_server_does(lab_server: LabServer) -> None:
    """The picture's own matching rule and the server's are the same."""
    lab_server.start()
    module = pictures()
    patterns = [pattern for pattern, _ in module.PATTERNS]
    options = [word for pattern in patterns for word in ("--pattern", pattern)]
    done = subprocess.run(
        [sys.executable, "wildcards.py", *options, *module.TREE],
        cwd=LAB,
        env={**os.environ, **lab_server.env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert {row[0]: [mark == "yes" for mark in row[1:]] for row in rows} == {
        subject: [module.matches(pattern, subject) for pattern in patterns] for subject in module.TREE
    }
