"""A small disk that can be filled."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
NO_ROOM = 10047
"""Error code of nats-server for a full disk."""


class Volume:
    """A small file system in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, size: int) -> Path:
        """Mounts the volume with this size in bytes; returns the directory for a store."""
        mount = shutil.which("mount")
        if mount is None:
            pytest.skip("no mount command")
        self.path.mkdir()
        command = [mount, "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(self.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"a tmpfs can't be mounted here: {done.stderr.strip()}")
        return self.path / "store"

    def free(self) -> int:
        """Free space in bytes."""
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize
