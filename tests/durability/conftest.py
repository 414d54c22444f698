"""Fixtures of the durability tests."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from .volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    """A volume that is not mounted yet."""
    volume = Volume(tmp_path / "volume")
    yield volume
    if volume.path.is_mount():
        subprocess.run(["umount", str(volume.path)], check=True)
