"""Part `kv`: large buckets and objects on both servers in one run, and on ours with its durable default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import natsload
from .part import BUILD

if TYPE_CHECKING:
    from .part import Plan

SCENARIOS = ("kv-keys-1000", "kv-keys-10m", "kv-watch-10k", "kv-cas-kills", "kv-object-4g", "kv-objects-1m")
PAIRS = [("ours", "theirs"), ("durable", "theirs")]
_HEAVY_RUNS = 3


def measure(plan: Plan) -> dict[str, Any]:
    """Measures all scenarios. `durable` is our server with its default configuration."""
    servers = {"ours": plan.ours, "theirs": plan.theirs, "durable": plan.ours}
    options = ["--sync-interval", "2m", "--default-sync", "durable", "--heavy-runs", str(min(plan.runs, _HEAVY_RUNS))]
    results = natsload.run(plan, servers, SCENARIOS, BUILD / "natsload-kv.json", options)
    return {"scenarios": natsload.shorten(results, PAIRS)}
