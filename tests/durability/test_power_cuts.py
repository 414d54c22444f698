"""Power cuts on a real file system: acknowledged messages are kept, even if all unsynced data is lost.

The file system is ext4 over the disk that rust/powercut simulates; see `power.py`.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from .power import PowerDisk, why_not
from .store import SEED, ask, connected, publish_until, started, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CUTS = int(os.environ.get("STONECHAT_CUTS", "20"))
MESSAGES_MAX = 6000
"""Largest number of messages between two cuts."""

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.mark.parametrize("options", ["", 'key: "k"'], ids=["plain", "encrypted"])
def test_what_was_acknowledged_survives_power_cuts(stonechat_program: Path, tmp_path: Path, options: str) -> None:
    asyncio.run(_cut_again_and_again(stonechat_program, tmp_path, options, CUTS // 2))


def test_what_is_left_after_lazy_power_cuts_is_whole(stonechat_program: Path, tmp_path: Path) -> None:
    """With a lazy `sync_interval` a cut may lose the last messages, but leaves no gap before them."""
    asyncio.run(_cut_lazily(stonechat_program, tmp_path, max(CUTS // 4, 1)))


async def _cut_lazily(program: Path, directory: Path, cuts: int) -> None:
    chance = random.Random(SEED)
    print(f"STONECHAT_SEED={SEED}")
    acked: dict[int, int] = {}
    number = kept = gone = 0
    with _power_disk(directory) as disk:
        store = disk.mounted / "store"
        for turn in range(cuts + 1):
            server = started(program, store, 'sync_interval: "100ms"')
            try:
                async with connected(server) as client:
                    info = await ask(client, "STREAM.INFO.S")
                    if "error" in info:
                        # The first cut may lose the stream too, if it was created within the last sync interval.
                        assert turn <= 1, info
                        config = {"name": "S", "subjects": ["s.>"], "max_msgs": 20_000}
                        info = await ask(client, "STREAM.CREATE.S", config)
                    state = info["state"]
                    left = {sequence: n for sequence, n in acked.items() if sequence <= state["last_seq"]}
                    gone += len(acked) - len(left)
                    acked = left
                    held = {sequence: n for sequence, n in acked.items() if sequence >= state["first_seq"]}
                    verdict = await verify(client, held)
                    assert (verdict.missing, verdict.wrong, verdict.corrupt) == ([], [], []), f"after cut {turn}"
                    kept += verdict.intact
                    if turn == cuts:
                        break
                    loop = asyncio.get_running_loop()
                    until = loop.time() + chance.choice([0.1, 0.4, 1, 3])
                    number = await publish_until(
                        client, number, number + MESSAGES_MAX, acked, partial(_is_past, loop, until)
                    )
                    disk.cut(turn)
            finally:
                server.kill()
                server.close()
            disk.restore()
    print(f"{cuts} cuts, {kept} messages read, {gone} gone with the last interval")
    assert kept > 10 * cuts
    assert gone > 0


async def _cut_again_and_again(program: Path, directory: Path, options: str, cuts: int) -> None:
    chance = random.Random(SEED)
    print(f"STONECHAT_SEED={SEED}")
    acked: dict[int, int] = {}
    number = unsynced = 0
    with _power_disk(directory) as disk:
        store = disk.mounted / "store"
        for turn in range(cuts + 1):
            server = started(program, store, options)
            try:
                async with connected(server) as client:
                    if turn == 0:
                        config = {"name": "S", "subjects": ["s.>"], "duplicate_window": 10**8, "max_msgs": 20_000}
                        assert "error" not in await ask(client, "STREAM.CREATE.S", config)
                    state = (await ask(client, "STREAM.INFO.S"))["state"]
                    newest = sorted(acked)[-20_000 + MESSAGES_MAX :]
                    sample = newest if turn == cuts else newest[-1500:]
                    held = {sequence: acked[sequence] for sequence in sample if sequence >= state["first_seq"]}
                    assert state["last_seq"] >= max(acked, default=0), f"after cut {turn}"
                    verdict = await verify(client, held)
                    assert (verdict.missing, verdict.wrong, verdict.corrupt) == ([], [], []), f"after cut {turn}"
                    if turn == cuts:
                        break
                    loop = asyncio.get_running_loop()
                    # The longest of these times is enough for a checkpoint.
                    until = loop.time() + chance.choice([0.1, 0.4, 1, 3])
                    disk.arm(chance.randrange(2**32), int(10 ** chance.uniform(1, 3.5)))
                    number = await publish_until(
                        client, number, number + MESSAGES_MAX, acked, partial(_is_past, loop, until)
                    )
                    unsynced += disk.cut(turn)
            finally:
                server.kill()
                server.close()
            disk.restore()
    print(f"{cuts} cuts, {len(acked)} messages acknowledged, {unsynced} pages were not synced")
    assert len(acked) > 10 * cuts
    assert unsynced > 0


@contextmanager
def _power_disk(directory: Path) -> Iterator[PowerDisk]:
    """Provides the disk; skips the test, with the reason, if the system does not allow it."""
    with ExitStack() as stack:
        try:
            disk = stack.enter_context(PowerDisk(directory))
        except OSError as error:
            pytest.skip(f"power cuts need a disk that could not be set up: {error}")
        yield disk


def _is_past(loop: asyncio.AbstractEventLoop, moment: float) -> bool:
    return loop.time() > moment
