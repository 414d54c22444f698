"""The figures that every table is made of, and when a rate says how fast the load was instead of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = "ours/theirs"
PER_CPU = "msgs/cpu s"
RATE = "msgs/s"
PEAK = "peak MiB"

# A server thread that is busy for less than this share of the time was waiting for the load.
_SATURATED = 0.9


def client_limits(scenario: Mapping[str, Any]) -> bool:
    """Whether our server had time to spare, so that its rate says how fast the load was.

    Asked only of loads that send as fast as they can: a requester that waits for its reply leaves any server idle.
    """
    busy = scenario["figures"].get("server cores", {}).get("ours", [])
    return bool(busy) and bool(busy[0] < _SATURATED)
