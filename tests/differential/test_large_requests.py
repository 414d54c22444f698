"""Large requests, which are parsed outside of JetStream's thread, get the same answers as from the real server."""

from __future__ import annotations

import json
from typing import Any

from tests.support.wire import Wire

from .servers import Programs, running

MANY = 30_000
"""Number of values in a large body."""
PATHS = (
    *("INFO", "STREAM.CREATE.T", "STREAM.UPDATE.S", "STREAM.INFO.S", "STREAM.NAMES", "STREAM.LIST"),
    *("STREAM.DELETE.X", "STREAM.PURGE.X", "STREAM.MSG.GET.S", "STREAM.MSG.DELETE.S", "STREAM.SNAPSHOT.S"),
    *("CONSUMER.NAMES.S", "CONSUMER.LIST.S", "CONSUMER.INFO.S.C", "CONSUMER.DELETE.S.C", "CONSUMER.PAUSE.S.C"),
    *("CONSUMER.UNPIN.S.C", "CONSUMER.CREATE.S.D", "CONSUMER.DURABLE.CREATE.S.D"),
)
BODIES = {
    "unknown": b'{"nobody":[' + b"{}," * MANY + b"{}]}",
    "broken": b'{"nobody":[' + b"{}," * MANY + b"x]}",
    "cut off": b'{"nobody":[' + b"{}," * MANY,
    "no object": b"[" + b"1," * (2 * MANY) + b"1]",
}


WRONG = (
    *(b'{"batch":x}', b'{"batch":1', b'{"batch":1} x', b'{"batch":"a"}', b'{"batch":1,}', b'{"batch":tru}'),
    *(rb'{"a":"\x"}', b'{"a":"\x01"}', b'{"batch":1.5}', b'{"batch":1}{}', b"{", b'{"group":[]}'),
)
"""Short bodies that Go's older JSON decoder reads; its errors name no position."""


def ask(wire: Wire, path: str, payload: bytes) -> dict[str, Any]:
    """Sends a request and returns the answer."""
    wire.send(b"PUB $JS.API.%s _I.0 %d\r\n%s\r\n" % (path.encode(), len(payload), payload))
    answer = wire.expect(b"MSG ")
    told: dict[str, Any] = json.loads(answer.partition(b"\r\n")[2])
    return told


def answers(port: int) -> dict[str, Any]:
    """Returns the types of the answers and their errors, by request."""
    with Wire(port) as wire:
        wire.send(b'CONNECT {"verbose":false}\r\nSUB _I.0 1\r\n')
        wire.sync()
        config = {"name": "S", "subjects": ["s"], "storage": "memory"}
        assert "error" not in ask(wire, "STREAM.CREATE.S", json.dumps(config).encode())
        consumer = {"stream_name": "S", "config": {"durable_name": "C", "ack_policy": "explicit"}}
        assert "error" not in ask(wire, "CONSUMER.CREATE.S.C", json.dumps(consumer).encode())
        told = {}
        for path in PATHS:
            for name, body in BODIES.items():
                answer = ask(wire, path, body)
                told[f"{path}: {name}"] = answer["type"], answer.get("error")
        return told


def test_large_bodies(programs: Programs) -> None:
    """Errors in large bodies are reported with the same texts."""
    with running(programs, "jetstream { store_dir: js }") as two:
        oracle, ours = (answers(server.port) for server in two)
        differ = {name: (ours[name], told) for name, told in oracle.items() if ours[name] != told}
        assert not differ


def refusals(port: int) -> list[bytes]:
    """Returns the answers to wrong requests for messages and wrong requests to unpin clients."""
    with Wire(port) as wire:
        wire.send(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nSUB _I.0 1\r\n')
        wire.sync()
        ask(wire, "STREAM.CREATE.S", b'{"name":"S","subjects":["s"],"storage":"memory"}')
        ask(wire, "CONSUMER.CREATE.S.C", b'{"stream_name":"S","config":{"durable_name":"C","ack_policy":"explicit"}}')
        told = []
        for body in WRONG:
            for path in (b"CONSUMER.MSG.NEXT.S.C", b"CONSUMER.UNPIN.S.C"):
                wire.send(b"PUB $JS.API.%s _I.0 %d\r\n%s\r\n" % (path, len(body), body))
                frames = wire.read_until(lambda frame: frame.startswith((b"MSG ", b"HMSG ")))
                told.append(frames[-1].partition(b"\r\n")[2])
        return told


def test_requests_that_the_older_decoder_reads(programs: Programs) -> None:
    """Wrong requests for messages and to unpin a client get the same answers."""
    with running(programs, "jetstream { store_dir: js }") as two:
        oracle, ours = (refusals(server.port) for server in two)
        assert ours == oracle
