"""kill -9 while consumers fetch and acknowledge: no message is missed, and confirmed acknowledgements are kept."""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import nats
import pytest

from .store import SEED, ask, connected, publish_until, started

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

KILLS = int(os.environ.get("STONECHAT_KILLS", "100")) // 10
CONSUMERS = ("all", "some")
BATCH = 50


@pytest.mark.parametrize("sync", ["", 'sync_interval: "2m"'], ids=["always", "lazy"])
def test_consumers_survive_kills(stonechat_program: Path, tmp_path: Path, sync: str) -> None:
    asyncio.run(_kill_again_and_again(stonechat_program, tmp_path / "store", sync))


async def _kill_again_and_again(program: Path, store: Path, sync: str) -> None:
    chance = random.Random(SEED)
    print(f"STONECHAT_SEED={SEED}")
    stored: dict[int, int] = {}
    seen: dict[str, set[int]] = {name: set() for name in CONSUMERS}
    done: dict[str, set[int]] = {name: set() for name in CONSUMERS}
    number = 0
    for round_ in range(KILLS):
        server = started(program, store, sync)
        try:
            async with connected(server) as client:
                if round_ == 0:
                    await _set_up(client)
                loop = asyncio.get_running_loop()
                until = loop.time() + chance.choice([0.01, 0.05, 0.1])
                loop.call_at(until, server.process.kill)
                consuming = [
                    asyncio.ensure_future(_consume(client, name, seen[name], done[name])) for name in CONSUMERS
                ]
                number = await publish_until(client, number, number + 500, stored, partial(_is_past, loop, until))
                await asyncio.gather(*consuming)
            server.kill()
        finally:
            server.close()
    server = started(program, store, sync)
    try:
        async with connected(server) as client:
            for name in CONSUMERS:
                # Messages that were fetched before a kill are delivered again after their ack wait.
                while True:
                    info = await ask(client, f"CONSUMER.INFO.S.{name}")
                    assert info["num_ack_pending"] >= 0
                    if info["num_pending"] == 0 and info["num_ack_pending"] == 0:
                        break
                    await _fetch(client, name, seen[name], done[name])
                missed = sorted(sequence for sequence in stored if sequence not in seen[name])
                assert missed == [], f"{name} missed messages"
                info = await ask(client, f"CONSUMER.INFO.S.{name}")
                assert info["ack_floor"]["stream_seq"] >= max(stored)
    finally:
        server.close()
    assert all(done[name] for name in CONSUMERS)


def _is_past(loop: asyncio.AbstractEventLoop, moment: float) -> bool:
    return loop.time() > moment


async def _set_up(client: Client) -> None:
    assert "error" not in await ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
    for name in CONSUMERS:
        config: dict[str, Any] = {"durable_name": name, "ack_policy": "explicit", "ack_wait": 200_000_000}
        if name == "some":
            config["filter_subject"] = "s.*"
        answer = await ask(client, f"CONSUMER.CREATE.S.{name}", {"stream_name": "S", "config": config})
        assert "error" not in answer


async def _consume(client: Client, name: str, seen: set[int], done: set[int]) -> None:
    with suppress(nats.errors.Error, asyncio.CancelledError, OSError):
        while client.is_connected:
            await _fetch(client, name, seen, done)


async def _fetch(client: Client, name: str, seen: set[int], done: set[int]) -> None:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    request = {"batch": BATCH, "expires": 300_000_000}
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.S.{name}", json.dumps(request).encode(), reply=inbox)
    for _ in range(BATCH):
        try:
            message = await subscription.next_msg(0.5)
        except nats.errors.TimeoutError:
            break
        if not message.reply:
            break
        sequence = int(message.reply.split(".")[5])
        assert sequence not in done, f"{name} got {sequence} again, which it had acknowledged for certain"
        seen.add(sequence)
        await client.request(message.reply, b"+ACK", timeout=1)
        done.add(sequence)
    await subscription.unsubscribe()
