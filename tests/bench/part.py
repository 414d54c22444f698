"""Common code of all benchmark parts: paths, plans, facts about the machine, statistics."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "bench"
FULL_RUNS = 5
FULL_SECS = 2.0

_AUTOGROUP = Path("/proc/self/autogroup")
_URGENT = -15
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(RuntimeError):
    """A part cannot be measured; the message says why."""


@dataclass(frozen=True)
class Plan:
    """Runs and seconds of a measurement, the measured programs, and a factor for the sizes of a load."""

    runs: int
    secs: float
    ours: Path
    theirs: Path
    scale: float = 1.0

    @property
    def rough(self) -> bool:
        """Whether runs, seconds or scale are too low for figures to be published."""
        return self.runs < FULL_RUNS or self.secs < FULL_SECS or self.scale < 1

    def times(self, full: int) -> int:
        """Returns a number of repetitions: `full` in a full measurement, fewer in a rough one."""
        return max(1, full * min(self.runs, FULL_RUNS) // FULL_RUNS)

    def taken(self) -> dict[str, Any]:
        """Returns date, settings, commit and machine of a measurement."""
        return {
            "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
            "runs": self.runs,
            "secs": self.secs,
            "scale": self.scale,
            "rough": self.rough,
            "machine": machine(),
            "ours": f"{version(self.ours)}, commit {commit()}",
            "theirs": version(self.theirs),
        }


def say(text: str) -> None:
    """Prints progress without buffering."""
    print(text, flush=True)


def machine() -> dict[str, Any]:
    """Returns facts about the machine: processor model, usable processors, memory, kernel."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")), 0)
    return {
        "model": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory / 2**20),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
    }


def version(program: Path) -> str:
    """Returns the version of a server: the last line, since ours first prints the compatible nats-server version."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), "unknown")


def commit() -> str:
    """Returns the commit of this clone, with a mark if files were changed."""
    told = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def spread(values: Sequence[float]) -> list[float]:
    """Returns median, minimum and maximum to five digits; empty without values."""
    if not values:
        return []
    return [float(f"{value:.5g}") for value in (statistics.median(values), min(values), max(values))]


def cpu_seconds(pid: int) -> float:
    """Returns the user and system time of all threads of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pid: int | str = "self") -> int:
    """Returns the resident memory of a process in KiB."""
    return next(int(line.split()[1]) for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS:"))


def may_be_urgent() -> bool:
    """Returns whether this process may raise its priority."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _URGENT)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


@contextlib.contextmanager
def urgent() -> Iterator[int]:
    """Raises the priority of this process and its children, if that is allowed; yields the nice value.

    Linux may schedule by sessions. A nice value then only counts within its session, so the weight of the session is
    changed too.
    """
    if not may_be_urgent():
        yield 0
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    group = _AUTOGROUP.read_text().rpartition(" ")[2].strip() if _AUTOGROUP.exists() else ""
    os.setpriority(os.PRIO_PROCESS, 0, _URGENT)
    if group:
        _AUTOGROUP.write_text(str(_URGENT))
    try:
        yield _URGENT
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
        if group:
            _AUTOGROUP.write_text(group)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(errors="replace").splitlines()
