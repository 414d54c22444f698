"""Part `cores`: how throughput grows with the processors that the server may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import natsload
from .part import BUILD

if TYPE_CHECKING:
    from pathlib import Path

    from .part import Plan

SCENARIOS = ("8to8", "fanout-8")


def measure(plan: Plan) -> dict[str, Any]:
    """Measures both servers on 1, 2, 4 ... processors, up to those of the machine; the load may use all of them."""
    cpus = sorted(os.sched_getaffinity(0))
    steps = [count for count in (1, 2, 4, 8, 16, 32, 64) if count <= len(cpus)]
    servers: dict[str, Path] = {}
    pairs: list[tuple[str, str]] = []
    for count in steps:
        chosen = ",".join(map(str, cpus[:count]))
        for name, server in (("ours", plan.ours), ("theirs", plan.theirs)):
            servers[f"{name}-{count}"] = natsload.wrapper(f"{name}-{count}", ["taskset", "-c", chosen, server])
            if count > 1:
                pairs.append((f"{name}-{count}", f"{name}-1"))
        pairs.append((f"ours-{count}", f"theirs-{count}"))
    results = natsload.run(plan, servers, SCENARIOS, BUILD / "natsload-cores.json")
    return {"steps": steps, "scenarios": natsload.shorten(results, pairs)}
