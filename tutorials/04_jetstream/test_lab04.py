"""Runs every step of this lab's README, and checks what the steps can't show."""

import subprocess
import sys
from pathlib import Path

import pytest
from labkit import LabRun, Readme, Section

LAB = Path(__file__).parent
README = Readme(LAB / "README.md")
SCRIPTS = sorted(
    path.name
    for path in LAB.glob("*.py")
    if not path.name.startswith("test_") and "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("section", README.sections, ids=str)
def test_section(section: Section, lab_run: LabRun) -> None:
    """Every command of the section does what the README says."""
    lab_run(section)


def test_listings_are_true() -> None:
    """Every listing is an excerpt of the file that it names."""
    assert README.check_listings() > 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_explains_itself(script: str) -> None:
    """``--help`` says what the script does, and where it connects to."""
    done = subprocess.run([sys.executable, LAB / script, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--url" in done.stdout


def test_every_script_is_used() -> None:
    """The README runs each script: none is left over."""
    commands = [line for block in README.blocks for line in block.lines if line.startswith("$ ")]
    unused = [script for script in SCRIPTS if not any(f"python {script}" in line for line in commands)]
    assert unused == []
