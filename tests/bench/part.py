"""What every part of the benchmarks needs: where things are, how long to measure, and what was measured on."""

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
    """A part cannot be measured, and why."""


@dataclass(frozen=True)
class Plan:
    """How long to measure, which programs, and the factor on the sizes of a load."""

    runs: int
    secs: float
    ours: Path
    theirs: Path
    scale: float = 1.0

    @property
    def rough(self) -> bool:
        """Whether this is less than what figures worth quoting take."""
        return self.runs < FULL_RUNS or self.secs < FULL_SECS or self.scale < 1

    def times(self, full: int) -> int:
        """A number of repetitions, `full` of them in a full measurement."""
        return max(1, full * min(self.runs, FULL_RUNS) // FULL_RUNS)

    def taken(self) -> dict[str, Any]:
        """When, where and on what a part was measured."""
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
    """Progress, seen at once."""
    print(text, flush=True)


def machine() -> dict[str, Any]:
    """The machine: processor model, processors that may be used, memory, kernel."""
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
    """What a server says about its version. Ours says last what it is, after what it is compatible with."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")
    return next((line.strip() for line in reversed(said) if line.strip()), "unknown")


def commit() -> str:
    """The commit of this clone, with a mark where files differ from it."""
    told = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "unknown"


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and greatest, to five digits; empty where nothing was measured."""
    if not values:
        return []
    return [float(f"{value:.5g}") for value in (statistics.median(values), min(values), max(values))]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all threads, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_kib(pid: int | str = "self") -> int:
    """Resident memory of a process."""
    return next(int(line.split()[1]) for line in _lines(f"/proc/{pid}/status") if line.startswith("VmRSS:"))


def may_be_urgent() -> bool:
    """Whether this process may raise its priority."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _URGENT)
    except OSError:
        return False
    os.setpriority(os.PRIO_PROCESS, 0, before)
    return True


@contextlib.contextmanager
def urgent() -> Iterator[int]:
    """Raises the priority of this process and what it starts, where that is allowed; gives the nice value.

    Linux may weigh sessions against each other: then a nice value counts only within one, and the weight of the
    session has to go along.
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
