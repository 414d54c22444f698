"""Part `consumers`: the cost of 100,000 durable consumers, and the effect of consumers without readers on others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats

from tests.support.process import LOOPBACK, ServerProcess

from .part import resident_kib, say, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from .part import Plan

_MANY = 100_000
_OUTSTANDING = 500
_IDLE_S = 10.0
_SLOW = 20
_MESSAGES = 300_000
_PAYLOAD = 128
_PATIENCE_S = 60.0
_CONFIG = 'jetstream { store_dir: "js", sync_interval: "2m", limits { default_max_consumers: -1 } }'
_TICKS = os.sysconf("SC_CLK_TCK")


def measure(plan: Plan) -> dict[str, Any]:
    """Measures both servers in turn."""
    programs = {"ours": plan.ours, "theirs": plan.theirs}
    many = {}
    for name, program in programs.items():
        with ServerProcess(program, _CONFIG) as server:
            many[name] = asyncio.run(_many(server, plan.times(_MANY)))
        say(f"consumers: {name}: {many[name]}")
    slow: dict[str, dict[str, list[float]]] = {}
    for name, program in programs.items():
        took = slow.setdefault(name, {"alone s": [], "beside s": []})
        for _ in range(plan.runs):
            for kind, count in (("alone s", 0), ("beside s", _SLOW)):
                with ServerProcess(program, _CONFIG) as server:
                    took[kind].append(_beside_slow_ones(server, count))
        ratios = [beside / alone for alone, beside in zip(took["alone s"], took["beside s"], strict=True)]
        say(f"consumers: {name}: a reader beside {_SLOW} who do not read takes {spread(ratios)} times as long")
        took["ratio"] = ratios
    return {"consumers": plan.times(_MANY), "many": many, "not reading": _SLOW, "slow": slow}


def _cpu_s(pid: int) -> float:
    """Returns the user and system time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def _ask(client: Client, path: str, payload: Any) -> Any:
    answer = json.loads(
        (await client.request(f"$JS.API.{path}", json.dumps(payload).encode(), timeout=_PATIENCE_S)).data
    )
    assert "error" not in answer, answer
    return answer


async def _many(server: ServerProcess, count: int) -> dict[str, float]:
    pid = server.process.pid
    client = await nats.connect(f"nats://{LOOPBACK}:{server.port}")
    try:
        await _ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "max_consumers": -1})
        before, memory, began = _cpu_s(pid), resident_kib(pid), time.perf_counter()
        room = asyncio.Semaphore(_OUTSTANDING)
        inbox = client.new_inbox()
        done = asyncio.Event()
        answered = 0

        async def note(message: Msg) -> None:
            nonlocal answered
            assert b'"error"' not in message.data, message.data
            answered += 1
            room.release()
            if answered == count:
                done.set()

        await client.subscribe(inbox, cb=note)
        for number in range(count):
            await room.acquire()
            config = {"durable_name": f"c{number}", "name": f"c{number}", "ack_policy": "explicit"}
            body = json.dumps({"stream_name": "S", "config": config}).encode()
            await client.publish(f"$JS.API.CONSUMER.CREATE.S.c{number}", body, reply=inbox)
        await asyncio.wait_for(done.wait(), 20 * _PATIENCE_S)
        took = time.perf_counter() - began
        cpu, resident = _cpu_s(pid) - before, resident_kib(pid) - memory
    finally:
        await client.close()
    # The server writes outstanding data during the first pause and is idle during the second, measured one.
    await asyncio.sleep(_IDLE_S)
    idle = _cpu_s(pid)
    await asyncio.sleep(_IDLE_S)
    return {
        "created/s": round(count / took),
        "cpu us each": round(cpu / count * 1e6, 1),
        "KiB each": round(resident / count, 2),
        "idle % of a core": round((_cpu_s(pid) - idle) / _IDLE_S * 100, 2),
    }


@contextlib.contextmanager
def _raw(server: ServerProcess) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, server.port), timeout=_PATIENCE_S) as sock:
        sock.sendall(b'CONNECT {"verbose":false,"headers":true}\r\nPING\r\n')
        _until(sock, b"PONG\r\n")
        yield sock


def _until(sock: socket.socket, end: bytes) -> None:
    seen = b""
    while end not in seen:
        seen = seen[-64:] + sock.recv(1 << 16)


async def _set_up(server: ServerProcess, slow: int) -> None:
    client = await nats.connect(f"nats://{LOOPBACK}:{server.port}")
    await _ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "memory"})
    # Half of the slow consumers have a client that never reads, the others have none. `max_ack_pending` has its default
    # of 1000.
    for name in ["good", *[f"slow{number}" for number in range(slow)]]:
        policy = "none" if name == "good" else "explicit"
        config = {"name": name, "durable_name": name, "deliver_subject": name, "ack_policy": policy}
        await _ask(client, f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})
    await client.close()


def _beside_slow_ones(server: ServerProcess, slow: int) -> float:
    """Returns the seconds until a reader has all published messages, beside `slow` consumers that read nothing."""
    asyncio.run(_set_up(server, slow))
    with contextlib.ExitStack() as stack:
        for number in range(0, slow, 2):
            asleep = stack.enter_context(_raw(server))
            asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            asleep.sendall(b"SUB slow%d 1\r\nPING\r\n" % number)
            _until(asleep, b"PONG\r\n")
        reader = stack.enter_context(_raw(server))
        reader.sendall(b"SUB good 1\r\nPING\r\n")
        _until(reader, b"PONG\r\n")
        publisher = stack.enter_context(_raw(server))
        message = b"PUB s.a %d\r\n" % _PAYLOAD + b"x" * _PAYLOAD + b"\r\n"
        began = time.perf_counter()
        got, sent, tail = 0, 0, b""
        while got < _MESSAGES:
            # The publisher stays less than 20,000 messages ahead, so that the reader is not closed as a slow consumer.
            if sent < _MESSAGES and sent - got < 20_000:
                publisher.sendall(message * 1000)
                sent += 1000
            chunk = tail + reader.recv(1 << 18)
            got += chunk.count(b"MSG s.a 1 ")
            tail = chunk[-9:]
        return time.perf_counter() - began
