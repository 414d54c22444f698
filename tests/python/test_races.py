"""Concurrent changes of a bucket: creators beside deleters, and lists whose keys are removed."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trio

from stonechat import KeyExistsError, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stonechat import Bucket, StoredMessage

SECONDS = 60
"""Timeout in seconds for operations that must end; enough for a busy machine."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


# nats-server #5162: create fails during concurrent deletes. Each delete writes a marker with a new revision. So a
# client that gives up at the first wrong revision fails even if the key never had a value.

CREATORS = 50
DELETERS = 50
TURNS = 20
KEYS = ("a", "b", "c")


class Refusal(NamedTuple):
    """A failed creation."""

    key: str
    before: int
    """Last revision of the stream at the start of the creation."""
    revision: int
    """Revision of the existing value that the error names."""


def test_create_fails_only_where_a_value_was_there(server: Server) -> None:
    """50 creators and 50 deleters run in parallel; the stream keeps all their messages for the check."""
    stream = server.streams.create("KV_RACE", ["$KV.RACE.>"], max_msgs_per_subject=-1, allow_direct=True)
    bucket = server.kv("RACE", create=False)
    created: list[int] = []
    refused: list[Refusal] = []

    def create(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(TURNS):
            key, before = chance.choice(KEYS), stream.info().last
            try:
                created.append(bucket.create(key, b"%d" % seed))
            except KeyExistsError as error:
                refused.append(Refusal(key, before, int(str(error).rpartition(" ")[2])))

    def delete(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(TURNS):
            bucket.delete(chance.choice(KEYS))

    _at_once([(create, seed) for seed in range(CREATORS)] + [(delete, seed) for seed in range(DELETERS)])
    assert (len(created) + len(refused), len(set(created))) == (CREATORS * TURNS, len(created))
    for key in KEYS:
        _check_history(key, stream.messages(f"$KV.RACE.{key}"), set(created), refused)


def _check_history(key: str, messages: list[StoredMessage], created: set[int], refused: list[Refusal]) -> None:
    """Checks that no creation replaced a value, and that each refused one met a value during its attempt."""
    values = [one.sequence for one in messages if "KV-Operation" not in one.headers]
    assert created >= set(values)
    for one, two in itertools.pairwise(messages):
        assert two.sequence not in values or one.sequence not in values, f"{key}: {two.sequence} replaced a value"
    ended = {one.sequence: two.sequence for one, two in itertools.pairwise(messages)}
    for refusal in refused:
        if refusal.key == key:
            assert refusal.revision in values, refusal
            assert ended.get(refusal.revision, refusal.before + 1) > refusal.before, refusal


def test_create_beside_purges(server: Server) -> None:
    """Purges leave no history to check; the only error must be that a value exists."""
    bucket = server.kv("PURGED", history=5)
    outcomes: list[int] = []

    def create(seed: int) -> None:
        for turn in range(TURNS):
            with suppress(KeyExistsError):
                bucket.create("a", b"%d %d" % (seed, turn))
            outcomes.append(seed)

    def purge(_: int) -> None:
        for _ in range(TURNS):
            bucket.purge("a")

    _at_once([(create, seed) for seed in range(10)] + [(purge, seed) for seed in range(10)])
    assert len(outcomes) == 10 * TURNS
    bucket.purge("a")
    assert bucket.create("a", b"") > 0


def _at_once(tasks: Sequence[tuple[Callable[[int], None], int]]) -> None:
    """Runs functions on threads that start at the same time, and raises the first error."""
    begin = threading.Barrier(len(tasks))

    def run(function: Callable[[int], None], seed: int) -> None:
        begin.wait(SECONDS)
        function(seed)

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(run, *task) for task in tasks]:
            done.result(SECONDS)


# A list whose keys are removed while it is read: it ends, although counted messages never arrive.

LARGE = bytes(256 << 10)
MANY = 200
"""Number of keys; more than flow control allows in flight."""


def _filled(server: Server, name: str) -> Bucket:
    bucket = server.kv(name)
    for number in range(MANY):
        bucket.put(f"k{number}", LARGE)
    return bucket


def test_a_list_ends_when_its_keys_are_removed(server: Server) -> None:
    bucket = _filled(server, "LISTED")
    found = bucket.find()
    next(found)
    bucket.clear()
    ended = threading.Event()

    def read() -> None:
        assert len(list(found)) < MANY - 1
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    assert ended.wait(SECONDS)
    assert list(bucket.find()) == []


@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_a_list_in_an_event_loop_ends_too(server: Server, loop: str) -> None:
    bucket = _filled(server, "LISTED_ASYNC")

    async def read() -> int:
        found = (await server.kv_async(bucket.name)).find()
        await anext(found)
        bucket.clear()
        return len([entry async for entry in found])

    assert (asyncio.run(read()) if loop == "asyncio" else trio.run(read)) < MANY - 1


def test_a_list_goes_on_when_its_consumer_is_removed(server: Server) -> None:
    bucket = _filled(server, "LOST")
    found = bucket.find()
    keys = [next(found).key]
    for consumer in server.streams["KV_LOST"].consumers:
        server.consumers.delete("KV_LOST", consumer.name)
    keys += [entry.key for entry in found]
    assert keys == [f"k{number}" for number in range(MANY)]
