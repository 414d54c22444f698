"""Reconnect storms of clients with watchers: the consumers of closed connections are removed (nats-server #5352).

The report: 587 consumers in ten minutes, none ever removed. nats-server 2.15.2 passes this test.
"""

from __future__ import annotations

import itertools
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

from tests.support.waiting import wait_for
from tests.support.wire import Wire

if TYPE_CHECKING:
    from .conftest import StartServer

CONNECTIONS = 30
WATCHERS = 10
"""Number of watchers on each connection."""
STORMS = 5
KEYS = 20
INACTIVE_NS = 1_000_000_000


class Watching:
    """A connection with watchers. Each has its own consumer, which the server removes when it is inactive."""

    numbers = itertools.count()

    def __init__(self, port: int) -> None:
        self.wire = Wire(port)
        self.wire.expect(b"INFO")
        self.wire.send_line('CONNECT {"verbose":false,"pedantic":false}')
        for watcher in range(WATCHERS):
            inbox = f"_INBOX.{next(self.numbers)}"
            self.wire.send_line(f"SUB {inbox} {watcher + 2}")
            config = {
                "deliver_subject": inbox,
                "deliver_policy": "last_per_subject",
                "filter_subject": "$KV.B.>",
                "ack_policy": "none",
                "flow_control": True,
                "idle_heartbeat": 5_000_000_000,
                "inactive_threshold": INACTIVE_NS,
                "mem_storage": True,
            }
            body = json.dumps({"stream_name": "KV_B", "config": config})
            self.wire.send_line(f"PUB $JS.API.CONSUMER.CREATE.KV_B answer.{inbox} {len(body)}\r\n{body}")

    def cut(self) -> None:
        """Ends the connection with a reset, like a network failure."""
        self.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wire.close()

    def expect(self, value: bytes, count: int) -> None:
        """Reads until `count` messages with the value have arrived."""
        for _ in range(count):
            self.wire.read_until(lambda frame: frame.startswith(b"MSG $KV.B.") and frame.endswith(value + b"\r\n"))


def test_no_consumer_is_left_of_a_storm(start_server: StartServer) -> None:
    """After five storms, which cut connections at any point of their start, there are as many consumers as watchers."""
    server = start_server("jetstream { store_dir: js }")
    with Wire(server.port) as writer:
        writer.send_line('CONNECT {"verbose":false,"pedantic":false}')
        writer.send_line("SUB answer 1")
        # The default limit is 1,000 consumers, which those that are still to be removed could exhaust.
        config = {"name": "KV_B", "subjects": ["$KV.B.>"], "max_msgs_per_subject": 1, "max_consumers": 100_000}
        _ask(writer, "STREAM.CREATE.KV_B", config)
        for key in range(KEYS):
            _ask(writer, "", None, subject=f"$KV.B.key.{key}", data=b"before")
        for storm in range(STORMS):
            watching = [Watching(server.port) for _ in range(CONNECTIONS)]
            for number, one in enumerate(watching):
                if (number + storm) % 3 == 1:
                    one.wire.sync()
                elif (number + storm) % 3 == 2:
                    one.expect(b"before", KEYS * WATCHERS // 2)
            for one in watching:
                one.cut()
        watching = [Watching(server.port) for _ in range(CONNECTIONS)]
        for one in watching:
            one.expect(b"before", KEYS * WATCHERS)
        wait_for(lambda: _consumers(writer) == CONNECTIONS * WATCHERS, "as many consumers as watchers")
        _ask(writer, "", None, subject="$KV.B.key.0", data=b"after")
        for one in watching:
            one.expect(b"after", WATCHERS)
            one.cut()
        wait_for(lambda: _consumers(writer) == 0, "no consumer without a watcher")


def _consumers(writer: Wire) -> int:
    return int(_ask(writer, "STREAM.INFO.KV_B", None)["state"]["consumer_count"])


def _ask(wire: Wire, call: str, body: dict[str, Any] | None, *, subject: str = "", data: bytes = b"") -> dict[str, Any]:
    data = data if body is None else json.dumps(body).encode()
    wire.send(b"PUB %s answer %d\r\n%s\r\n" % ((subject or f"$JS.API.{call}").encode(), len(data), data))
    answer: dict[str, Any] = json.loads(wire.expect(b"MSG answer ").split(b"\r\n", 1)[1])
    assert "error" not in answer, answer
    return answer
