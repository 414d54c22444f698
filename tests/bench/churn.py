"""Part `churn`: 1to1-128 while another connection subscribes and unsubscribes a thousand times a second."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import natsload
from .part import BUILD, ROOT, BenchError, say, spread

if TYPE_CHECKING:
    from pathlib import Path

    from .part import Plan

RATE = 1000
PAIRS = [("ours", "theirs"), ("ours-churn", "theirs-churn"), ("ours-churn", "ours"), ("theirs-churn", "theirs")]


def measure(plan: Plan) -> dict[str, Any]:
    """Measures both servers, each with and without churn, in one run."""
    servers: dict[str, Path] = {}
    logs: dict[str, Path] = {}
    for name, server in (("ours", plan.ours), ("theirs", plan.theirs)):
        logs[name] = BUILD / f"churn-{name}.log"
        logs[name].unlink(missing_ok=True)
        words: list[str | Path] = [sys.executable, "-m", "tests.bench.churner"]
        words += ["--log", logs[name], "--rate", str(RATE), server]
        servers[f"{name}-churn"] = natsload.wrapper(f"{name}-churn", words, {"PYTHONPATH": str(ROOT)})
        servers[name] = server
    results = natsload.run(plan, servers, ["1to1-128"], BUILD / "natsload-churn.json")
    rates = {name: spread(confirmed(log)) for name, log in logs.items()}
    for name, rate in rates.items():
        if not rate:
            raise BenchError(f"nothing was subscribed beside {name}")
        say(f"churn beside {name}: {rate[0]:.0f} SUB and UNSUB a second, confirmed by PONGs")
    return {"rate": RATE, "confirmed": rates, "scenarios": natsload.shorten(results, PAIRS)}


def confirmed(log: Path) -> list[float]:
    """Returns the rate of each run, from the last log line of its client."""
    last: dict[str, float] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        process, count, seconds = line.split()
        last[process] = int(count) / float(seconds)
    return list(last.values())
