"""Part `interpreter`: the effect of a server under load in a Python process on the Python code of this process.

A Python loop counts in three settings, in turn, on the same two processors:

- with an idle server in its process,
- with a server under load in another process,
- with a server under the same load in its own process.

In the last two settings, load and server take the same processor time from the loop. A lower count in the third setting
is thus the cost of the server's use of the GIL.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

from tests.support.process import ServerProcess

from .part import ROOT, BenchError, cpu_seconds, say, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .part import Plan

RATE = 1_000_000
SETTINGS = ("idle", "beside", "inside")


def measure(plan: Plan) -> dict[str, Any]:
    """Measures all settings in turn, `runs` times."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:2])
    try:
        runs = {name: [] for name in SETTINGS}  # type: dict[str, list[dict[str, float]]]
        for turn in range(plan.runs):
            for setting in SETTINGS:
                runs[setting].append(_once(plan, setting))
                say(f"interpreter: run {turn + 1}, {setting}: {runs[setting][-1]}")
    finally:
        os.sched_setaffinity(0, before)
    figures = {
        setting: {metric: spread([run[metric] for run in taken]) for metric in taken[0]}
        for setting, taken in runs.items()
    }
    ratios = {
        f"{first}/{second}": {
            metric: spread([a[metric] / b[metric] for a, b in zip(runs[first], runs[second], strict=True)])
            for metric in ("steps/s", "steps/cpu s", "cores")
        }
        for first, second in (("beside", "idle"), ("inside", "idle"), ("inside", "beside"))
    }
    return {"rate": RATE, "cpus": len(sorted(before)[:2]), "figures": figures, "ratios": ratios}


def _once(plan: Plan, setting: str) -> dict[str, float]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(plan.ours, monitor=False)) if setting == "beside" else None
        arguments = [str(plan.secs), *([] if server else ["--server"])]
        loop = stack.enter_context(_program("tests.bench.counting", *arguments))
        port = int(_line(loop.stdout))
        load = None
        if setting != "idle":
            load = stack.enter_context(_program("tests.bench.load", str(server.port if server else port), str(RATE)))
            _line(load.stdout)
        spent = cpu_seconds(server.pid) if server else 0.0
        _pipe(loop.stdin).write("go\n")
        _pipe(loop.stdin).flush()
        counted: dict[str, float] = json.loads(_line(loop.stdout))
        if server:
            counted["server cores"] = (cpu_seconds(server.pid) - spent) / plan.secs
        else:
            counted["server cores"] = counted["other threads' cores"]
        del counted["other threads' cores"]
        counted["messages/s"] = 0.0
        if load:
            _pipe(load.stdin).close()
            done: dict[str, float] = json.loads(_line(load.stdout))
            counted["messages/s"] = done["delivered"] / done["seconds"]
        return counted


@contextlib.contextmanager
def _program(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Runs a module of this package as a process, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _line(pipe: IO[str] | None) -> str:
    line = _pipe(pipe).readline()
    if not line:
        raise BenchError("a program of the measurement ended early")
    return line


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise BenchError("a program of the measurement has no pipe")
    return pipe
