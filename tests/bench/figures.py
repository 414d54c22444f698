"""What the core is to reach against nats-server in the same run, and whether a measurement does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = "ours/theirs"
PER_CPU = "msgs/cpu s"
RATE = "msgs/s"
PEAK = "peak MiB"

# A server thread that is busy for less than this share of the time was waiting for the load.
_SATURATED = 0.9


@dataclass(frozen=True)
class Limit:
    """A figure that must stay on one side of a value."""

    metric: str
    label: str
    value: float
    at_least: bool
    unit: str = "x"
    """`x`: the ratio of ours to theirs is meant; else the figure of our server itself."""
    unless_client_limits: bool = False

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return f"{self.label} {sign} {self.value:g}{'' if self.unit == 'x' else ' ' + self.unit}"

    def measured(self, scenario: Mapping[str, Any]) -> float | None:
        """The figure that the limit is about."""
        table = "ratios" if self.unit == "x" else "figures"
        key = PAIR if self.unit == "x" else "ours"
        found = scenario[table].get(self.metric, {}).get(key, [])
        return float(found[0]) if found else None

    def missed(self, scenario: Mapping[str, Any]) -> bool:
        """Whether the measurement is on the wrong side. What was not measured is missed."""
        value = self.measured(scenario)
        if value is None:
            return True
        if (value >= self.value) if self.at_least else (value <= self.value):
            return False
        return not (self.unless_client_limits and client_limits(scenario))


def client_limits(scenario: Mapping[str, Any]) -> bool:
    """Whether our server had time to spare, so that its rate says how fast the load was.

    Asked only of loads that send as fast as they can: a requester that waits for its reply leaves any server idle.
    """
    busy = scenario["figures"].get("server cores", {}).get("ours", [])
    return bool(busy) and busy[0] < _SATURATED


def _per_cpu(value: float) -> Limit:
    return Limit(PER_CPU, "CPU", value, at_least=True)


_PEAK_MEMORY = Limit(PEAK, "memory", 1, at_least=False)
_NOT_SLOWER = Limit(RATE, "rate", 1, at_least=True)
_TWICE_THE_RATE = Limit(RATE, "rate", 2, at_least=True, unless_client_limits=True)
_REPLY_TIME = Limit("p50 us", "p50", 0.8, at_least=False)

GOALS: dict[str, tuple[Limit, ...]] = {
    "pub-1": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "pub-8": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "1to1-16": (_per_cpu(4), _TWICE_THE_RATE, _PEAK_MEMORY),
    "1to1-128": (_per_cpu(4), _TWICE_THE_RATE, _PEAK_MEMORY),
    "1to1-1k": (_per_cpu(1.8), _NOT_SLOWER, _PEAK_MEMORY),
    "1to1-64k": (_per_cpu(1.5), _NOT_SLOWER, _PEAK_MEMORY),
    "headers-1to1": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "fanout-8": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "fanout-100": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "fanin-8": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "8to8": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "queue-8": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "routing-100k": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "deep-wildcards": (_per_cpu(3), _NOT_SLOWER, _PEAK_MEMORY),
    "request-1": (_per_cpu(1.5), _NOT_SLOWER, _REPLY_TIME, _PEAK_MEMORY),
    "request-64": (_per_cpu(1.5), _NOT_SLOWER, _REPLY_TIME, _PEAK_MEMORY),
    "latency-50k": (
        _per_cpu(1.5),
        Limit("p50 us", "p50", 1, at_least=False),
        Limit("p99 us", "p99", 1, at_least=False),
        _PEAK_MEMORY,
    ),
    "idle-10k": (
        Limit("cpu us/connect", "CPU per connect", 0.6, at_least=False),
        Limit("KiB/conn", "per connection", 8, at_least=False, unit="KiB"),
        Limit("KiB/conn later", "later", 8, at_least=False, unit="KiB"),
        _PEAK_MEMORY,
    ),
    "tls-1to1-128": (_per_cpu(1.5), _NOT_SLOWER, _PEAK_MEMORY),
}
"""The scenarios of part `core`, in the order of the table."""

CHURN_GOAL = 4.0
IDLE_GOAL_MIB = 6.0
