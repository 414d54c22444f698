"""Part `ids`: the cost of message ids within the duplicate window, of times to live, and of a start that reads both."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import nats

from tests.support.process import LOOPBACK, ServerProcess

from .part import cpu_seconds, resident_kib, say

if TYPE_CHECKING:
    from .part import Plan

_MANY = 1_000_000
_BATCH = 1000
_AHEAD = 10_000
_SETTLED_S = 3.0
_PATIENCE_S = 60.0
_CONFIG = 'jetstream { store_dir: "js", sync_interval: "2m"%s }'
_STREAM = {"name": "S", "subjects": ["s.*"], "duplicate_window": 3600 * 10**9, "allow_msg_ttl": True}


def measure(plan: Plan) -> dict[str, Any]:
    """Measures both servers in turn, and ours also with little memory for indices."""
    count = plan.times(_MANY)
    found = {}
    for name, program, options in [
        ("ours", plan.ours, ""),
        ("ours with 16 MB for indices", plan.ours, ", max_index_memory: 16MB"),
        ("theirs", plan.theirs, ""),
    ]:
        with ServerProcess(program, _CONFIG % options) as server:
            found[name] = _measure(server, count)
        say(f"ids: {name}: {found[name]}")
    return {"messages": count, "ids": found}


def _measure(server: ServerProcess, count: int) -> dict[str, float]:
    asyncio.run(_ask(server, "STREAM.CREATE.S", _STREAM))
    memory, cpu, began = resident_kib(server.pid), cpu_seconds(server.pid), time.perf_counter()
    _publish(server, count)
    took, cpu = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
    time.sleep(_SETTLED_S)
    resident = resident_kib(server.pid) - memory
    server.kill()
    began = time.perf_counter()
    server.restart()
    state = asyncio.run(_ask(server, "STREAM.INFO.S", {}))["state"]
    assert state["messages"] == count, state
    return {
        "published/s": round(count / took),
        "cpu us each": round(cpu / count * 1e6, 2),
        "MiB more": round(resident / 1024, 1),
        "ready after kill -9, s": round(time.perf_counter() - began, 2),
        "MiB after that": round(resident_kib(server.pid) / 1024, 1),
    }


async def _ask(server: ServerProcess, path: str, payload: Any) -> Any:
    client = await nats.connect(f"nats://{LOOPBACK}:{server.port}")
    try:
        answer = await client.request(f"$JS.API.{path}", json.dumps(payload).encode(), timeout=_PATIENCE_S)
        decoded = json.loads(answer.data)
        assert "error" not in decoded, decoded
        return decoded
    finally:
        await client.close()


def _message(number: int) -> bytes:
    head = b"NATS/1.0\r\nNats-Msg-Id: id-%d\r\nNats-TTL: %ds\r\n\r\n" % (number, 3600 + number % 1800)
    return b"HPUB s.%d a %d %d\r\n%b0123456789abcdef\r\n" % (number % 100, len(head), len(head) + 16, head)


def _publish(server: ServerProcess, count: int) -> None:
    """Publishes `count` messages, and waits for all acknowledgements."""
    with socket.create_connection((LOOPBACK, server.port), timeout=_PATIENCE_S) as connection:
        connection.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nSUB a 1\r\n')
        sent, acknowledged, rest = 0, 0, b""
        while acknowledged < count:
            if sent < count and sent - acknowledged < _AHEAD:
                connection.sendall(b"".join(map(_message, range(sent, min(sent + _BATCH, count)))))
                sent = min(sent + _BATCH, count)
                if sent - acknowledged < _AHEAD and sent < count:
                    continue
            chunk = rest + connection.recv(1 << 18)
            acknowledged += chunk.count(b'"seq":')
            assert b'"error"' not in chunk, chunk[:300]
            # Shorter than the counted word, so that no word is counted twice.
            rest = chunk[-5:]
