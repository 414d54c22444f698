"""kill -9 at random points under load: all acknowledged messages are kept."""

from __future__ import annotations

import asyncio
import os
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest

from .store import SEED, ask, connected, publish_until, started, verify

if TYPE_CHECKING:
    from pathlib import Path

KILLS = int(os.environ.get("STONECHAT_KILLS", "100"))
MESSAGES_MAX = 1500
"""Largest number of messages between two kills."""


@pytest.mark.parametrize(
    "sync",
    ["", 'sync_interval: "2m"', 'key: "k", cipher: aes'],
    ids=["always", "lazy", "encrypted"],
)
def test_what_was_acknowledged_survives_kills(stonechat_program: Path, tmp_path: Path, sync: str) -> None:
    asyncio.run(_kill_again_and_again(stonechat_program, tmp_path / "store", sync, KILLS // 3))


async def _kill_again_and_again(program: Path, store: Path, sync: str, kills: int) -> None:
    chance = random.Random(SEED)
    print(f"STONECHAT_SEED={SEED}")
    acked: dict[int, int] = {}
    number = 0
    for round_ in range(kills + 1):
        before = dict(acked)
        server = started(program, store, sync)
        try:
            async with connected(server) as client:
                if round_ == 0:
                    config = {"name": "S", "subjects": ["s.>"], "duplicate_window": 10**8}
                    assert "error" not in await ask(client, "STREAM.CREATE.S", config)
                state = (await ask(client, "STREAM.INFO.S"))["state"]
                assert state["messages"] >= len(before)
                assert state["last_seq"] >= max(before, default=0)
                # After the last kill all messages are checked, before that the newest ones and a sample.
                sample = before if round_ == kills else _sample(before, chance)
                verdict = await verify(client, sample)
                assert (verdict.missing, verdict.wrong, verdict.corrupt) == ([], [], []), f"after kill {round_}"
                loop = asyncio.get_running_loop()
                until = loop.time() + chance.choice([0.002, 0.02, 0.05])
                loop.call_at(until, server.process.kill)
                number = await publish_until(
                    client, number, number + MESSAGES_MAX, acked, partial(_is_past, loop, until)
                )
            server.kill()
        finally:
            server.close()
    assert len(acked) > kills
    print(f"{kills} kills, {len(acked)} messages acknowledged, all of them there")


def _is_past(loop: asyncio.AbstractEventLoop, moment: float) -> bool:
    return loop.time() > moment


def _sample(acked: dict[int, int], chance: random.Random) -> dict[int, int]:
    newest = sorted(acked)[-300:]
    others = chance.sample(sorted(acked), min(100, len(acked)))
    return {sequence: acked[sequence] for sequence in {*newest, *others}}
