"""Part `startup`: time until a server answers, idle memory, and leaks after a thousand starts and stops."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.support.process import LOOPBACK

from .part import ROOT, BenchError, resident_kib, say, spread

if TYPE_CHECKING:
    from pathlib import Path

    from .part import Plan

_STARTS = 50
_CYCLES = 1000
_PATIENCE_S = 20.0
_SETTLE_S = 1.0
_AGAIN_S = 0.0001


def measure(plan: Plan) -> dict[str, Any]:
    """Measures the server programs in turn, then servers inside a Python process."""
    programs = {"ours": plan.ours, "theirs": plan.theirs}
    took: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(plan.times(_STARTS)):
        for name, program in programs.items():
            took[name].append(_start(program)[0] * 1e3)
    idle: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(plan.runs):
        for name, program in programs.items():
            idle[name].append(_start(program, settle_s=_SETTLE_S)[1] / 1024)
    for name in programs:
        say(f"startup: {name}: ready after {spread(took[name])} ms, idle {spread(idle[name])} MiB")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.bench.cycles", str(plan.times(_STARTS)), str(plan.times(_CYCLES))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ended.returncode != 0:
        raise BenchError("starting and stopping servers inside a Python process failed")
    inside = json.loads(ended.stdout)
    inside["start ms"] = spread(inside["start ms"])
    say(f"startup: inside Python: {inside}")
    return {
        "starts": plan.times(_STARTS),
        "start ms": {name: spread(values) for name, values in took.items()},
        "idle MiB": {name: spread(values) for name, values in idle.items()},
        "inside": inside,
    }


def _start(program: Path, settle_s: float = 0.0) -> tuple[float, int]:
    """Starts a program; returns the seconds until it has sent its INFO, and its resident KiB after `settle_s`."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    begin = time.perf_counter()
    command: list[str | Path] = [program, "-a", LOOPBACK, "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _greeting(port, process)
        ready = time.perf_counter() - begin
        # After the pause the server is idle, so its idle memory is measured.
        time.sleep(settle_s)
        return ready, resident_kib(process.pid)
    finally:
        process.kill()
        process.wait()


def _greeting(port: int, process: subprocess.Popen[bytes]) -> None:
    """Tries to connect until the server accepts and sends its INFO."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as connection:
            connection.settimeout(_PATIENCE_S)
            if connection.connect_ex((LOOPBACK, port)) == 0 and connection.recv(1 << 16).startswith(b"INFO "):
                return
        # Short compared with the measured time, but long enough to leave processor time to the server.
        time.sleep(_AGAIN_S)
    raise BenchError(f"{process.args!r} was never ready")
