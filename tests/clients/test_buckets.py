"""Key-value buckets in cases that users reported for other servers: watchers over restarts, memory after a purge."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nats
from nats.js.api import KeyValueConfig

from tests.support.process import ServerProcess

from .helpers import client

if TYPE_CHECKING:
    from nats.js.kv import KeyValue

    from .conftest import StartServer

RESTARTS = 6
WATCHERS = 3
PATIENCE_S = 90.0
"""Timeout in seconds. nats-py only creates a new consumer after one or two missing heartbeats."""


class Seen:
    """The entries that a watcher received."""

    def __init__(self) -> None:
        self.last: dict[str, bytes | None] = {}
        self.revisions: list[int] = []

    async def follow(self, watcher: KeyValue.KeyWatcher) -> None:
        async for entry in watcher:
            # The first `None` marks the end of the initial values.
            if entry is not None:
                self.last[entry.key] = entry.value
                self.revisions.append(entry.revision)


def test_watchers_see_every_last_value_over_restarts(start_server: StartServer, tmp_path: Path) -> None:
    """nats.go #1777, nats.py #842; also, no consumers are left (nats-server #5352)."""
    asyncio.run(_restart_below_watchers(start_server(f'jetstream {{ store_dir: "{tmp_path}" }}')))


async def _restart_below_watchers(server: ServerProcess) -> None:
    async with client(server) as writing, client(server) as watching:
        stream = writing.jetstream(timeout=5)
        bucket = await stream.create_key_value(KeyValueConfig(bucket="B"))
        watched = await watching.jetstream().key_value("B")
        seen = [Seen() for _ in range(WATCHERS)]
        tasks = [asyncio.create_task(each.follow(await watched.watchall())) for each in seen]
        expected: dict[str, bytes | None] = {}
        for restart in range(RESTARTS):
            for number in range(restart * 20, restart * 20 + 20):
                key, value = f"key.{number % 7}", b"%d" % number
                await _put(bucket, key, value)
                expected[key] = value
            await asyncio.to_thread(server.kill if restart % 2 else server.stop)
            await asyncio.to_thread(server.restart)
        deadline = time.monotonic() + PATIENCE_S
        while any(each.last != expected for each in seen):
            assert time.monotonic() < deadline, [each.last for each in seen]
            await asyncio.sleep(0.05)
        for each in seen:
            assert each.revisions == sorted(set(each.revisions))
        assert not any(task.done() for task in tasks)
        assert (await stream.stream_info("KV_B")).state.consumer_count == WATCHERS
        for task in tasks:
            task.cancel()


async def _put(bucket: KeyValue, key: str, value: bytes) -> None:
    """Puts a value; repeats this until it succeeds, because the connection may be lost."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with suppress(nats.errors.Error, OSError):
            await bucket.put(key, value)
            return
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_memory_falls_when_a_bucket_is_emptied(start_server: StartServer, tmp_path: Path) -> None:
    """Memory of removed keys is released (nats-server #4397)."""
    asyncio.run(_fill_and_empty(start_server(f'jetstream {{ store_dir: "{tmp_path}", sync_interval: 10s }}')))


KEYS = 200_000
AT_ONCE = 1_000
NEAR_BYTES = 20 << 20


async def _fill_and_empty(server: ServerProcess) -> None:
    async with client(server) as connection:
        stream = connection.jetstream(timeout=60)
        await stream.create_key_value(KeyValueConfig(bucket="B"))
        await _fill(connection, 1)
        await stream.purge_stream("KV_B")
        before = _resident(server)
        await _fill(connection, KEYS)
        assert (await stream.stream_info("KV_B")).state.messages == KEYS
        full = _resident(server)
        await stream.purge_stream("KV_B")
        deadline = time.monotonic() + PATIENCE_S
        while (after := _resident(server)) > before + NEAR_BYTES:
            assert time.monotonic() < deadline, f"resident: {before} before, {full} full, {after} now"
            await asyncio.sleep(0.1)


async def _fill(connection: Any, keys: int) -> None:
    inbox = connection.new_inbox()
    answers = await connection.subscribe(inbox)
    for begin in range(0, keys, AT_ONCE):
        some = range(begin, min(keys, begin + AT_ONCE))
        for number in some:
            await connection.publish(f"$KV.B.key.{number}", b"x" * 64, reply=inbox)
        for _ in some:
            assert b"error" not in (await answers.next_msg(timeout=60)).data
    await answers.unsubscribe()


def _resident(server: ServerProcess) -> int:
    """Returns the resident memory of the server in bytes."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * 4096
