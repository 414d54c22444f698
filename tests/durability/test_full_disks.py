"""Full disks: acknowledged messages stay, publishing is refused, and removing messages frees space again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import wait_for

from .store import ask, connected, started
from .volume import MIB, NO_ROOM, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

    from tests.support.process import ServerProcess

_AT_ONCE = 32


def _started(program: Path, store: Path) -> ServerProcess:
    # Without `max_file`, a server would only use three quarters of the free space.
    return started(program, store, "max_file: 1G")


async def _fill(client: Client, subject: str, length: int, most: int) -> tuple[int, int]:
    """Publishes messages of `length` bytes until one is refused, at most `most` bytes.

    Returns the number of acknowledged messages, and the error code of the first refused one.
    """
    inbox = client.new_inbox()
    waiting = asyncio.Semaphore(_AT_ONCE)
    acked, code = 0, 0

    async def note(message: Msg) -> None:
        nonlocal acked, code
        error = json.loads(message.data).get("error")
        acked += error is None
        code = code or (error or {}).get("err_code", 0)
        waiting.release()

    subscription = await client.subscribe(inbox, cb=note)
    body = os.urandom(length)
    for _ in range(most // length):
        await asyncio.wait_for(waiting.acquire(), 60)
        if code:
            waiting.release()
            break
        await client.publish(subject, body, reply=inbox)
    for _ in range(_AT_ONCE):
        await asyncio.wait_for(waiting.acquire(), 60)
    await subscription.unsubscribe()
    return acked, code


async def _publish(client: Client, subject: str, body: bytes = b"again") -> Any:
    return json.loads((await client.request(subject, body, timeout=60)).data)


async def _until_taken(client: Client, subject: str) -> None:
    """Publishes until a message is accepted. Each turn waits for an answer, so this loop does not spin."""
    deadline = time.monotonic() + 60
    while "error" in (answer := await _publish(client, subject)):
        assert answer["error"]["err_code"] == NO_ROOM
        assert time.monotonic() < deadline


@pytest.mark.parametrize("way", ["purge", "delete"])
@pytest.mark.parametrize("size", [120, 135])
def test_removing_messages_frees_a_full_disk(stonechat_program: Path, volume: Volume, size: int, way: str) -> None:
    asyncio.run(_free_again(stonechat_program, volume, size * MIB, way))


async def _free_again(program: Path, volume: Volume, size: int, way: str) -> None:
    store = volume.mount(size)
    with closing(_started(program, store)) as server:
        async with connected(server) as client:
            for name in ("A", "B"):
                await ask(client, f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"]})
            # B has messages too, which a checkpoint must write when the disk is full.
            assert await _fill(client, "B.x", 8_000, 100 * 8_000) == (100, 0)
            acked, code = await _fill(client, "A.x", 32_000, 2 * size)
            assert code == NO_ROOM
            assert acked > 1000
            kept, code = await _fill(client, "B.x", 200, 20 * 200)
            assert (await ask(client, "STREAM.INFO.A"))["state"]["messages"] == acked
            answer = await ask(client, f"STREAM.{way.upper()}.A")
            assert answer["success"]
            await _until_taken(client, "B.x")
            assert (await ask(client, "STREAM.INFO.B"))["state"]["messages"] == 100 + kept + 1
            await asyncio.to_thread(wait_for, lambda: volume.free() > size / 2, "free space")
            if way == "delete":
                await ask(client, "STREAM.CREATE.A", {"name": "A", "subjects": ["A.>"]})
            again, code = await _fill(client, "A.x", 32_000, size // 2)
            assert (again, code) == (size // 2 // 32_000, 0)
            left = (await ask(client, "STREAM.INFO.B"))["state"]["messages"]
        assert server.stop() == 0
        server.restart()
        async with connected(server) as client:
            assert (await ask(client, "STREAM.INFO.A"))["state"]["messages"] == again
            assert (await ask(client, "STREAM.INFO.B"))["state"]["messages"] == left


def test_what_was_acknowledged_before_the_disk_was_full_outlives_a_kill(
    stonechat_program: Path, volume: Volume
) -> None:
    asyncio.run(_kill_when_full(stonechat_program, volume))


async def _kill_when_full(program: Path, volume: Volume) -> None:
    with closing(_started(program, volume.mount(60 * MIB))) as server:
        async with connected(server) as client:
            for name in ("A", "B"):
                await ask(client, f"STREAM.CREATE.{name}", {"name": name, "subjects": [f"{name}.>"]})
            assert await _fill(client, "B.x", 8_000, 100 * 8_000) == (100, 0)
            acked, code = await _fill(client, "A.x", 8_000, 100 * MIB)
            assert code == NO_ROOM
        server.kill()
        server.restart()
        async with connected(server) as client:
            assert (await ask(client, "STREAM.INFO.A"))["state"]["messages"] >= acked
            assert (await ask(client, "STREAM.INFO.B"))["state"]["messages"] == 100
            assert (await ask(client, "STREAM.PURGE.A"))["success"]
            await _until_taken(client, "B.x")


def test_a_store_starts_on_twelve_mebibytes(stonechat_program: Path, volume: Volume) -> None:
    async def run() -> None:
        with closing(_started(stonechat_program, volume.mount(12 * MIB))) as server:
            async with connected(server) as client:
                await ask(client, "STREAM.CREATE.A", {"name": "A", "subjects": ["A.>"]})
                acked, code = await _fill(client, "A.x", 1_000, 20 * MIB)
                assert code == NO_ROOM
                assert acked * 1_000 > 4 * MIB
            assert server.stop() == 0
            server.restart()
            async with connected(server) as client:
                assert (await ask(client, "STREAM.INFO.A"))["state"]["messages"] == acked

    asyncio.run(run())


def test_most_of_a_small_disk_is_for_messages(stonechat_program: Path, volume: Volume) -> None:
    size = 80 * MIB

    async def run() -> None:
        with closing(_started(stonechat_program, volume.mount(size))) as server:
            async with connected(server) as client:
                await ask(client, "STREAM.CREATE.A", {"name": "A", "subjects": ["A.>"]})
                acked, code = await _fill(client, "A.x", 8_000, size)
                assert code == NO_ROOM
                assert acked * 8_000 >= 0.8 * size

    asyncio.run(run())


@pytest.mark.parametrize("limit", [4 * MIB, MIB // 2])
def test_a_limit_of_file_sizes_does_not_end_the_server(stonechat_program: Path, tmp_path: Path, limit: int) -> None:
    # `ulimit -f` counts blocks of 512 bytes.
    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -f {limit // 512}\nexec "{stonechat_program}" "$@"\n')
    limited.chmod(0o755)

    async def run() -> None:
        with closing(_started(limited, tmp_path / "store")) as server:
            async with connected(server) as client:
                await ask(client, "STREAM.CREATE.A", {"name": "A", "subjects": ["A.>"]})
                acked, code = await _fill(client, "A.x", 8_000, 12 * MIB)
                # The server keeps its files shorter than the limit, so all messages are stored.
                assert (acked, code) == (12 * MIB // 8_000, 0)
                # A message longer than the limit is refused; later, shorter ones are accepted.
                length = 900_000
                answer = await _publish(client, "A.x", bytes(length))
                if length > limit:
                    assert answer["error"]["err_code"] == NO_ROOM
                    assert (await ask(client, "STREAM.PURGE.A"))["success"]
                    await _until_taken(client, "A.x")
                else:
                    assert answer["seq"] == acked + 1
            assert server.stop() == 0

    asyncio.run(run())
