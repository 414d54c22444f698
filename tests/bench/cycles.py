"""A program that starts and stops servers inside its process: `python -m tests.bench.cycles STARTS CYCLES`.

Prints as JSON the times of the starts, and threads, file descriptors and memory before and after the cycles.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

import stonechat

from .part import resident_kib

# Cycles before the measurement. The first servers create permanent objects such as the runtime's caches and the thread
# for log lines.
_WARM_UP = 20


def main() -> None:
    """Runs the program."""
    starts, cycles = int(sys.argv[1]), int(sys.argv[2])
    took = [_cycle() for _ in range(starts)]
    for _ in range(_WARM_UP):
        _cycle()
    before = _held()
    for _ in range(cycles):
        _cycle()
    print(json.dumps({"start ms": took, "cycles": cycles, "before": before, "after": _held()}))


def _cycle() -> float:
    """Starts and stops one server; returns the milliseconds until it was ready."""
    begin = time.perf_counter()
    server = stonechat.Server(port=0).start()
    took = time.perf_counter() - begin
    server.stop()
    return took * 1e3


def _held() -> dict[str, float]:
    gc.collect()
    return {
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "resident MiB": round(resident_kib() / 1024, 2),
    }


if __name__ == "__main__":
    main()
