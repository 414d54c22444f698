"""Part `core`: natsload's core scenarios, our server against nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import natsload
from .goals import GOALS
from .part import BUILD

if TYPE_CHECKING:
    from .part import Plan

PAIRS = [("ours", "theirs")]


def measure(plan: Plan) -> dict[str, Any]:
    """All scenarios that have a goal."""
    servers = {"ours": plan.ours, "theirs": plan.theirs}
    results = natsload.run(plan, servers, list(GOALS), BUILD / "natsload-core.json")
    return {"scenarios": natsload.shorten(results, PAIRS)}
