"""What others do to a bucket while it is read or written: creators beside deleters, lists whose keys go."""

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
"""How long something that must end may take on a busy machine."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


# nats-server #5162: create fails beside a delete. There, and with clients that give up at the first wrong revision, it
# fails where no key has ever had a value: each deletion writes a marker with a revision of its own.

CREATORS = 50
DELETERS = 50
TURNS = 20
KEYS = ("a", "b", "c")


class Refusal(NamedTuple):
    """A creation that failed."""

    key: str
    before: int
    """The stream's last revision when it began."""
    revision: int
    """The value that was in its way."""


def test_create_fails_only_where_a_value_was_there(server: Server) -> None:
    """A hundred creators and deleters; the stream keeps all that they do."""
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
    """Values were created where none was; who was refused found a value that was there during its attempt."""
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
    """Purges leave no history to check; there is no other error than that a value is there."""
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
    """Run functions on threads of their own that begin together; the first error is raised."""
    begin = threading.Barrier(len(tasks))

    def run(function: Callable[[int], None], seed: int) -> None:
        begin.wait(SECONDS)
        function(seed)

    with ThreadPoolExecutor(len(tasks)) as pool:
        for done in [pool.submit(run, *task) for task in tasks]:
            done.result(SECONDS)


# A list, while what it lists is removed: it ends, though what was counted at its beginning never comes.

LARGE = bytes(256 << 10)
MANY = 200
"""More than is on its way at a time."""


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
