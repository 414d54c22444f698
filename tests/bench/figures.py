"""The figures in the tables, and the test whether the load generator, not the server, limited a rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PAIR = "ours/theirs"
PER_CPU = "msgs/cpu s"
RATE = "msgs/s"
PEAK = "peak MiB"

DURABLE_PAIR = "durable/theirs"


class Row(NamedTuple):
    """A figure of a bucket or object scenario on the page, and its goal."""

    scenario: str
    metric: str
    label: str
    goal: str
    is_more_better: bool = False


KV_ROWS = [
    Row("kv-keys-10m", PER_CPU, "10M keys, 50M puts: puts per CPU second", "3", is_more_better=True),
    Row("kv-keys-10m", PEAK, "peak memory, MiB", "0.1, under 400 MiB"),
    Row("kv-keys-10m", "disk B/msg", "disk, bytes a put", "1"),
    Row("kv-keys-10m", "ready s KILL", "ready after kill -9, s", "0.5"),
    Row("kv-keys-10m", "last s", "keys by a filter, wildcard last, s", "0.5"),
    Row("kv-keys-10m", "last first ms", "the first of them, ms", "50 ms"),
    Row("kv-keys-10m", "middle s", "keys by a filter, wildcard in the middle, s", "0.5"),
    Row("kv-keys-10m", "middle first ms", "the first of them, ms", "50 ms"),
    Row("kv-keys-10m", "get-1/cpu s", "one get outstanding, 10M keys: per CPU second", "1.8", is_more_better=True),
    Row("kv-keys-10m", "get-64/cpu s", "64 gets outstanding, 10M keys: per CPU second", "2.5", is_more_better=True),
    Row("kv-keys-1000", "get-1/cpu s", "one get outstanding, 1,000 keys: per CPU second", "1.8", is_more_better=True),
    Row("kv-keys-1000", "get-64/cpu s", "64 gets outstanding, 1,000 keys: per CPU second", "2.5", is_more_better=True),
    Row("kv-watch-10k", "p99 us", "10,000 watchers: update to sight, p99, µs", "20 ms"),
    Row("kv-watch-10k", "cpu s/M", "CPU seconds for a million sights", "0.33"),
    Row("kv-watch-10k", "KiB/watcher", "memory a watcher, KiB", "4 KiB"),
    Row("kv-watch-10k", "storm s", "a storm: all watching again, s", "0.5"),
    Row("kv-watch-10k", "consumers left", "consumers too many after five storms", "none"),
    Row("kv-cas-kills", "winners/cpu s", "compare and set: winners per CPU second", "1.5", is_more_better=True),
    Row("kv-cas-kills", "violations", "what contradicts a linearizable history", "none"),
    Row("kv-object-4g", "up MB/cpu s", "object of 4 GiB up: MB per CPU second", "1.3", is_more_better=True),
    Row("kv-object-4g", "down MB/cpu s", "down: MB per CPU second", "1.3", is_more_better=True),
    Row("kv-object-4g", "up MiB over idle", "up: peak memory over idle, MiB", "64 MiB"),
    Row("kv-object-4g", "down MiB over idle", "down: peak memory over idle, MiB", "64 MiB"),
    Row("kv-object-4g", "disk back s", "disk back after the delete, s", "10 s"),
    Row("kv-objects-1m", "up MiB over idle", "1M objects of 4 KiB: peak memory over idle, MiB", "0.5"),
    Row("kv-objects-1m", "listed/s", "listed a second", "2", is_more_better=True),
]
"""Rows in the order of the table."""

# A server that is busy for a smaller share of the time was waiting for the load.
_SATURATED = 0.9


def client_limits(scenario: Mapping[str, Any]) -> bool:
    """Returns whether our server was partly idle, so that the load generator limited the rate.

    Only for loads that send as fast as they can: a requester that waits for replies leaves any server partly idle.
    """
    busy = scenario["figures"].get("server cores", {}).get("ours", [])
    return bool(busy) and bool(busy[0] < _SATURATED)
