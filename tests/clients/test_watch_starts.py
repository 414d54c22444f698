"""The cost of a watch's start depends on the number of keys, not on earlier writes (nats-server #4987, #4930).

One bucket has 1,000 keys that were written once, another has keys that were written many times. They are watched in
turns, so that other load of the machine affects both equally.
"""

from __future__ import annotations

import json
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.wire import Wire

if TYPE_CHECKING:
    from .conftest import StartServer

KEYS = 1000
UPDATES = 50
"""Number of updates of each key in the bucket with many writes."""
TURNS = 15
SLACK = 2.0
"""Factor for loaded machines, on the ratio of 1.5 that is allowed on an idle machine."""


def _api(wire: Wire, call: str, body: dict[str, object]) -> None:
    data = json.dumps(body)
    wire.send_line(f"PUB $JS.API.{call} answer {len(data)}\r\n{data}")
    answer = wire.expect(b"MSG answer ")
    assert b'"error"' not in answer, answer


def _fill(wire: Wire, bucket: str, history: int, updates: int, storage: str) -> None:
    config = {
        "name": f"KV_{bucket}",
        "subjects": [f"$KV.{bucket}.>"],
        "max_msgs_per_subject": history,
        "storage": storage,
    }
    _api(wire, f"STREAM.CREATE.KV_{bucket}", config)
    line = "".join(f"PUB $KV.{bucket}.key.{key} 5\r\nvalue\r\n" for key in range(KEYS - 1)).encode()
    for _ in range(updates):
        wire.send(line)
        # Wait for an acknowledgement after each round, so that the server's limit of pending messages is not reached.
        wire.send_line(f"PUB $KV.{bucket}.key.{KEYS - 1} answer 5\r\nvalue")
        assert b'"seq"' in wire.expect(b"MSG answer ")


def _start(wire: Wire, bucket: str, number: int) -> float:
    """Returns the seconds from the request until the last values of all keys have arrived."""
    config = {
        "deliver_subject": f"watch.{number}",
        "deliver_policy": "last_per_subject",
        "filter_subject": f"$KV.{bucket}.>",
        "ack_policy": "none",
        "mem_storage": True,
        "headers_only": True,
    }
    body = json.dumps({"stream_name": f"KV_{bucket}", "config": config})
    wire.send_line(f"SUB watch.{number} {number}")
    wire.sync()
    began = time.perf_counter()
    wire.send_line(f"PUB $JS.API.CONSUMER.CREATE.KV_{bucket} made {len(body)}\r\n{body}")
    last = b" %d $JS.ACK.KV_%s." % (number, bucket.encode())
    for _ in range(KEYS):
        wire.read_until(lambda frame: last in frame[:200])
    took = time.perf_counter() - began
    wire.send_line(f"UNSUB {number}")
    return took


@pytest.mark.parametrize("storage", ["file", "memory"])
@pytest.mark.parametrize("history", [1, 5])
def test_a_watch_begins_as_fast_as_before(start_server: StartServer, storage: str, history: int) -> None:
    server = start_server("jetstream { store_dir: js }")
    with Wire(server.port) as wire:
        wire.send_line('CONNECT {"verbose":false,"pedantic":false,"headers":true}')
        wire.send_line("SUB answer 1")
        _fill(wire, "NEW", history, 1, storage)
        _fill(wire, "OLD", history, UPDATES, storage)
        times: dict[str, list[float]] = {"NEW": [], "OLD": []}
        for number in range(2, 2 + 2 * TURNS):
            bucket = ("NEW", "OLD")[number % 2]
            times[bucket].append(_start(wire, bucket, number))
    new, old = (statistics.median(times[bucket]) for bucket in ("NEW", "OLD"))
    print(f"{storage}, history {history}: {old / new:.2f} times ({new * 1e3:.1f} and {old * 1e3:.1f} ms)")
    assert old < 1.5 * SLACK * new
