"""Key-value buckets with kills, flipped bits and full disks: no purged value reappears, no write stays refused."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import nats
import pytest
from nats.js.api import KeyValueConfig
from nats.js.errors import APIError, KeyNotFoundError

from .store import SEED, ask, connected, copy_of, started
from .volume import MIB, NO_ROOM, Volume

if TYPE_CHECKING:
    from pathlib import Path

    from nats.js.kv import KeyValue

KILLS = int(os.environ.get("STONECHAT_BUCKET_KILLS", "20"))
FLIPS = int(os.environ.get("STONECHAT_BUCKET_FLIPS", "6"))
MARKER_S = 1.0
"""Seconds for which the marker of a purged key is kept."""


class Bucket:
    """A client's record of a bucket: keys with their values, and purged keys."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.values: dict[str, bytes] = {}
        self.purged: list[str] = []
        self.number = 0

    async def work(self, bucket: KeyValue) -> None:
        """Puts and purges keys until the server ends."""
        while True:
            self.number += 1
            key = f"key.{self.number}"
            with suppress(KeyNotFoundError):
                await bucket.put(key, b"secret" * self.chance.choice([1, 1, 1000]))
            await bucket.purge(key, msg_ttl=MARKER_S)
            self.purged.append(key)
            # Seven other keys are overwritten repeatedly, so that segments are compacted.
            kept = f"kept.{self.number % 7}"
            value = b"%d" % self.number * 500
            self.values.pop(kept, None)
            await bucket.put(kept, value)
            self.values[kept] = value

    async def check(self, bucket: KeyValue, *, is_damaged: bool = False) -> None:
        """Checks that purged keys have no value and the others their last one, or none if the store is damaged."""
        for key in [*self.purged[-20:], *self.chance.sample(self.purged, min(20, len(self.purged)))]:
            value = await _value(bucket, key, is_damaged=is_damaged)
            assert value is None, f"{key} was purged, and is back: {value!r}"
        for key, value in self.values.items():
            assert await _value(bucket, key, is_damaged=is_damaged) in ({value, None} if is_damaged else {value})


async def _value(bucket: KeyValue, key: str, *, is_damaged: bool) -> bytes | None:
    """Returns the value of a key, or `None` if it has none, or if a damaged store can't read it."""
    try:
        return (await bucket.get(key)).value
    except KeyNotFoundError:
        return None
    except APIError:
        if not is_damaged:
            raise
        return None


def test_purged_values_never_come_back(stonechat_program: Path, tmp_path: Path) -> None:
    asyncio.run(_purge_and_kill(stonechat_program, tmp_path / "store"))


async def _purge_and_kill(program: Path, store: Path) -> None:
    print(f"STONECHAT_SEED={SEED}")
    chance = random.Random(SEED)
    known = Bucket(chance)
    for round_ in range(KILLS):
        with closing(started(program, store)) as server:
            async with connected(server) as client:
                stream = client.jetstream(timeout=60)
                if round_ == 0:
                    await stream.create_key_value(KeyValueConfig(bucket="B", history=3, limit_marker_ttl=MARKER_S))
                bucket = await stream.key_value("B")
                await known.check(bucket)
                work = asyncio.create_task(known.work(bucket))
                # When the server is killed, some markers have expired and some have not.
                await asyncio.sleep(chance.uniform(0.05, 1.5))
                server.process.kill()
                # An outstanding answer may never arrive, and nats-py may lose a cancellation.
                while not work.done():
                    work.cancel()
                    await asyncio.wait({work}, timeout=0.1)
            server.kill()
    for turn in range(FLIPS):
        copy = copy_of(store, f"flipped-{turn}")
        told = _flip(copy, chance)
        with closing(started(program, copy)) as server:
            async with connected(server) as client:
                try:
                    bucket = await client.jetstream(timeout=60).key_value("B")
                    await known.check(bucket, is_damaged=True)
                except (nats.js.errors.BucketNotFoundError, nats.js.errors.NotFoundError):
                    assert "WRN" in server.log() or "ERR" in server.log(), told
                except AssertionError as error:
                    raise AssertionError(f"{told}: {error}\n{server.log()}") from error
    print(f"{KILLS} kills, {FLIPS} flips, {len(known.purged)} keys purged, none came back")
    with closing(started(program, store)) as server:
        async with connected(server) as client:
            deadline = time.monotonic() + 60
            gone = {f"$KV.B.{key}" for key in known.purged}
            while True:
                answer = await ask(client, "STREAM.INFO.KV_B", {"subjects_filter": "$KV.B.key.>"})
                # Each turn waits for an answer, so this loop does not spin. A kill may prevent the last purge.
                left = gone & (answer["state"].get("subjects") or {}).keys()
                if not left:
                    break
                assert time.monotonic() < deadline, f"markers stay: {left}"


def _flip(store: Path, chance: random.Random) -> str:
    """Flips a random bit of the store; all bits are equally likely."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.stat().st_size > 0)
    path = chance.choices(files, [file.stat().st_size for file in files])[0]
    offset = chance.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0] ^ 1 << chance.randrange(8)
        file.seek(offset)
        file.write(bytes([byte]))
    return f"byte {offset} of {path.name}"


def test_a_bucket_takes_writes_again_after_a_full_disk(stonechat_program: Path, volume: Volume) -> None:
    asyncio.run(_fill_and_free(stonechat_program, volume))


async def _fill_and_free(program: Path, volume: Volume) -> None:
    with closing(started(program, volume.mount(60 * MIB), "max_file: 1G")) as server:
        async with connected(server) as client:
            stream = client.jetstream(timeout=60)
            bucket = await stream.create_key_value(KeyValueConfig(bucket="B", history=5))
            await stream.add_stream(name="OTHER", subjects=["other"])
            revisions: list[int] = []
            body = os.urandom(100_000)

            async def put(writer: int) -> None:
                for number in range(10_000):
                    revisions.append(await bucket.put(f"key.{writer}.{number % 20}", body))
                    await stream.publish("other", body)

            async def put_until_refused(writer: int) -> None:
                with pytest.raises(APIError) as refused:
                    await put(writer)
                assert refused.value.err_code == NO_ROOM

            await asyncio.gather(*(put_until_refused(writer) for writer in range(4)))
            assert (await ask(client, "STREAM.PURGE.OTHER"))["success"]
            deadline = time.monotonic() + 60
            # Each attempt waits for an answer, so this loop does not spin.
            while True:
                with suppress(APIError):
                    revisions.append(await bucket.put("key.0.0", b"again"))
                    break
                assert time.monotonic() < deadline
            await bucket.delete("key.1.1")
            await bucket.purge("key.2.2")
            revisions.append(await bucket.put("key.1.1", b"new"))
            assert len(set(revisions)) == len(revisions), "a revision was given twice"
            assert revisions[-1] == max(revisions)
            assert (await bucket.get("key.0.0")).value == b"again"
            assert (await bucket.get("key.1.1")).value == b"new"
