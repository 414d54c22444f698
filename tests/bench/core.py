"""Part `core`: natsload's core scenarios, our server against nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import natsload
from .part import BUILD

if TYPE_CHECKING:
    from .part import Plan

SCENARIOS = (
    *("pub-1", "pub-8", "1to1-16", "1to1-128", "1to1-1k", "1to1-64k", "headers-1to1"),
    *("fanout-8", "fanout-100", "fanin-8", "8to8", "queue-8", "routing-100k", "deep-wildcards"),
    *("request-1", "request-64", "latency-50k", "idle-10k", "tls-1to1-128"),
)
"""Scenarios in the order of the table."""
PAIRS = [("ours", "theirs")]


def measure(plan: Plan) -> dict[str, Any]:
    """Measures all core scenarios."""
    servers = {"ours": plan.ours, "theirs": plan.theirs}
    results = natsload.run(plan, servers, SCENARIOS, BUILD / "natsload-core.json")
    return {"scenarios": natsload.shorten(results, PAIRS)}
