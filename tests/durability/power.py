"""A disk whose power can be cut: a file in FUSE, a loop device on it, and ext4 on that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

TOOLS = ("losetup", "mkfs.ext4", "mount", "umount")
MEGABYTES = 384


def powercut_program() -> Path | None:
    """Returns the program that simulates the disk, or `None`."""
    named = os.environ.get("STONECHAT_POWERCUT")
    return Path(named) if named else None


def why_not() -> str | None:
    """Returns why this machine can't have such a disk, or `None` if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "power cuts need Linux and root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"power cuts need {', '.join(missing)}"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not Path(device).exists():
            return f"power cuts need {device}"
    if powercut_program() is None:
        return "power cuts need the program powercut: STONECHAT_POWERCUT names it, and make builds it"
    return None


def _run(*command: object) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


class PowerDisk:
    """An ext4 file system at `mounted`, on a disk whose power can be cut."""

    def __init__(self, directory: Path) -> None:
        self.mounted = directory / "mounted"
        self._fuse = directory / "fuse"
        self._process: subprocess.Popen[str] | None = None
        self._loop = ""

    def __enter__(self) -> Self:
        for path in (self.mounted, self._fuse):
            path.mkdir(parents=True)
        command = [str(powercut_program()), str(self._fuse), str(MEGABYTES)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self._answer()
            self._attach()
            _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._loop)
            _run("mount", self._loop, self.mounted)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def arm(self, seed: int, writes: int) -> None:
        """Schedules a power cut after `writes` further writes."""
        self._command(f"arm {seed} {writes}")

    def cut(self, seed: int) -> int:
        """Cuts the power, unless it is off already; returns the number of pages that were not synced."""
        return int(self._command(f"cut {seed}"))

    def restore(self) -> None:
        """Restores the power and mounts the file system, which must not be in use; ext4 recovers from its journal."""
        self._detach()
        self._command("on")
        self._attach()
        _run("mount", self._loop, self.mounted)

    def close(self) -> None:
        """Detaches the loop device and ends the disk program."""
        with suppress(OSError):
            self._detach()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
        with suppress(OSError):
            _run("umount", "-l", self._fuse)

    def _attach(self) -> None:
        self._loop = _run("losetup", "--find", "--show", "--direct-io=on", self._fuse / "disk")

    def _detach(self) -> None:
        with suppress(OSError):
            _run("umount", self.mounted)
        if self._loop:
            _run("losetup", "--detach", self._loop)
            self._loop = ""

    def _command(self, command: str) -> str:
        process: Any = self._process
        process.stdin.write(command + "\n")
        process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        process: Any = self._process
        line: str = process.stdout.readline()
        if not line:
            raise OSError("powercut has ended")
        return line.strip()
