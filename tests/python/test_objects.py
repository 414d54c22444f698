"""Object stores without a socket."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import pickle
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from stonechat import (
    AsyncObjectStore,
    BucketExistsError,
    BucketNotFoundError,
    JetStreamError,
    NoAnswerError,
    ObjectDamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    ObjectStore,
    RuleError,
    Server,
    Stream,
)

DATA = bytes(range(251)) * 4000


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


_names = itertools.count()


@pytest.fixture(name="store")
def _store(server: Server) -> ObjectStore:
    return server.objects(f"O{next(_names)}")


@pytest.fixture(name="stream")
def _stream(server: Server, store: ObjectStore) -> Stream:
    return server.streams[f"OBJ_{store.name}"]


# Putting and getting


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, len(DATA)])
def test_any_size(store: ObjectStore, size: int) -> None:
    info = store.put("a", DATA[:size], chunk_size=1000)
    assert (info.size, info.chunks) == (size, -(-size // 1000))
    assert store.get("a") == DATA[:size]
    assert [len(chunk) for chunk in store.read("a")] == [1000] * (size // 1000) + [size % 1000] * (size % 1000 > 0)


def test_all_kinds_of_sources_and_targets(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_bytes(DATA)
    store.put("bytes", memoryview(DATA))
    store.put("path", file)
    with file.open("rb") as opened:
        store.put("file", opened)
    store.put("pieces", (DATA[at : at + 777] for at in range(0, len(DATA), 777)))
    for name in ("bytes", "path", "file", "pieces"):
        info = store.get_file(name, tmp_path / name)
        assert (tmp_path / name).read_bytes() == DATA
        assert (info.size, info.chunks) == (len(DATA), 8)
        buffer = io.BytesIO()
        store.get_file(name, buffer)
        assert buffer.getvalue() == DATA
    assert len({info.digest for info in store}) == 1
    with pytest.raises(TypeError, match="name a file with Path"):
        store.put("text", "in")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a piece of an object is bytes, not str"):
        store.put("text", ["in"])  # type: ignore[list-item]


def test_what_is_known_of_an_object(store: ObjectStore) -> None:
    store.put("ä/b c", DATA, description="Some", headers={"Kind": "tea"}, metadata={"team": "red"})
    info = store.info("ä/b c")
    assert (info.name, info.bucket, info.description) == ("ä/b c", store.name, "Some")
    assert (info.headers, info.metadata) == ({"Kind": "tea"}, {"team": "red"})
    assert ("ä/b c" in store, "x" in store, 5 in store, len(store)) == (True, False, False, 1)
    with pytest.raises(ObjectNotFoundError, match=rf"^object store {store.name} has no object 'x'$"):
        store.info("x")
    with pytest.raises(KeyError):
        store.get("x")


def test_a_new_object_replaces_the_old_one(store: ObjectStore, stream: Stream) -> None:
    store.put("a", DATA)
    store.put("a", b"short")
    assert store.get("a") == b"short"
    # The chunks of the replaced object are removed.
    assert [message.data for message in stream.messages("$O.*.C.>")] == [b"short"]


def test_a_source_that_fails_leaves_what_was_there(store: ObjectStore, stream: Stream) -> None:
    store.put("a", b"old")

    def broken() -> Iterator[bytes]:
        yield DATA
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        store.put("a", broken())
    assert store.get("a") == b"old"
    assert len(stream.messages("$O.*.C.>")) == 1


def test_delete(store: ObjectStore, stream: Stream) -> None:
    store.put("a", DATA)
    store.delete("a")
    assert ("a" in store, list(store)) == (False, [])
    assert [(info.name, info.deleted) for info in store.list(deleted=True)] == [("a", True)]
    assert stream.messages("$O.*.C.>") == []
    for use in (store.delete, store.get, store.info):
        with pytest.raises(ObjectNotFoundError):
            use("a")
    store.put("a", b"again")
    assert store.get("a") == b"again"


def test_links(server: Server, store: ObjectStore, tmp_path: Path) -> None:
    other = server.objects(f"{store.name}-OTHER")
    other.put("v3", DATA)
    store.put("v2", b"two")
    store.link("latest", "v2")
    assert (store.get("latest"), store.info("latest").link) == (b"two", (store.name, "v2"))
    store.link("latest", "v3", bucket=other.name)
    # nats-py ignores the target file for links (nats.py #898).
    buffer = io.BytesIO()
    assert store.get_file("latest", buffer).name == "v3"
    store.get_file("latest", tmp_path / "latest")
    assert buffer.getvalue() == (tmp_path / "latest").read_bytes() == DATA
    with pytest.raises(RuleError, match="is a link itself"):
        store.link("again", "latest")
    with pytest.raises(ObjectExistsError, match="has an object 'v2' already"):
        store.link("v2", "v3", bucket=other.name)
    with pytest.raises(ObjectNotFoundError):
        store.link("nowhere", "missing")
    store.link_bucket("all", other.name)
    with pytest.raises(RuleError, match="is a link to the whole bucket"):
        store.get("all")
    other.delete("v3")
    with pytest.raises(ObjectNotFoundError, match=f"object store {other.name} has no object 'v3'"):
        store.get("latest")


def test_links_that_lead_in_a_circle(server: Server, store: ObjectStore) -> None:
    store.put("a", b"")
    store.link("b", "a")
    store.delete("a")
    store.put("c", b"")
    store.link("a", "c")
    store.delete("c")
    # A circular link, published directly: the server does not check links.
    subject = f"$O.{store.name}.M.Yw=="
    told = {"name": "c", "bucket": store.name, "options": {"link": {"bucket": store.name, "name": "b"}}}
    server.streams[f"OBJ_{store.name}"].publish(subject, json.dumps(told).encode())
    with pytest.raises(RuleError, match="lead to each other"):
        store.get("b")


def test_changing_what_is_said(store: ObjectStore) -> None:
    store.put("a", DATA, description="Some", metadata={"x": "1"})
    store.put("b", b"")
    assert store.update("a", description="Other").metadata == {"x": "1"}
    store.update("a", new_name="c", headers={"K": "v"})
    assert [info.name for info in store] == ["b", "c"]
    info = store.info("c")
    assert (info.description, info.headers, store.get("c")) == ("Other", {"K": "v"}, DATA)
    with pytest.raises(ObjectExistsError):
        store.update("c", new_name="b")
    with pytest.raises(ObjectNotFoundError):
        store.update("a", description="x")


def test_a_sealed_store_takes_nothing(store: ObjectStore) -> None:
    store.put("a", b"1")
    store.seal()
    assert store.store_info().sealed
    for use in (lambda: store.put("b", b"2"), lambda: store.delete("a"), lambda: store.update("a", description="x")):
        with pytest.raises(JetStreamError, match="sealed"):
            use()
    assert store.get("a") == b"1"


def test_options(server: Server) -> None:
    options: dict[str, Any] = {"ttl": 3600, "max_bytes": 1 << 20, "storage": "memory", "description": "Some"}
    info = server.objects("OPTIONS", **options, compression=False, metadata={"a": "b"}).store_info()
    assert (info.ttl, info.max_bytes, info.storage, info.description) == (3600, 1 << 20, "memory", "Some")
    with pytest.raises(BucketExistsError):
        server.objects("OPTIONS", ttl=5)
    with pytest.raises(BucketNotFoundError, match=r"^there is no object store NONE$"):
        server.objects("NONE", create=False)
    with pytest.raises(TypeError, match="no option colour"):
        server.objects("X", colour="red")  # type: ignore[call-arg]
    store = server.objects("GOES")
    store.drop()
    for use in (lambda: store.put("a", b""), lambda: store.get("a"), lambda: list(store), store.drop, store.seal):
        with pytest.raises(BucketNotFoundError, match="there is no object store GOES"):
            use()


def test_getting_takes_time_by_the_length_alone(store: ObjectStore) -> None:
    # nats-py appends chunk by chunk (nats.py #703), so eight times the length takes 64 times as long.
    times = []
    for chunks in (1000, 8000):
        store.put("a", bytes(chunks * 256), chunk_size=256)
        began = time.thread_time()
        assert len(store.get("a")) == chunks * 256
        times.append(time.thread_time() - began)
    assert times[1] < 40 * times[0]


# Rules


@pytest.mark.parametrize("name", ["", None, 5, b"a", "\ud800", "x" * 40_001])
def test_names_that_break_the_rule(store: ObjectStore, name: Any) -> None:
    for use in (lambda: store.put(name, b""), lambda: store.get(name), lambda: store.delete(name)):
        with pytest.raises(RuleError, match="can't be an object: a name is a text"):
            use()


@pytest.mark.parametrize("size", [-1, 0, 1.5, "1", (1 << 20) + 1])
def test_chunks_that_break_the_rule(store: ObjectStore, size: Any) -> None:
    with pytest.raises(RuleError, match="chunk_size can't be"):
        store.put("a", b"x", chunk_size=size)
    with pytest.raises(TypeError, match="nothing is said of an object by colour"):
        store.put("a", b"x", colour=size)  # type: ignore[call-arg]


def test_chunks_are_no_longer_than_messages_may_be() -> None:
    with Server("jetstream {domain: hub}", jetstream=True, max_payload=10_000) as server:
        store = server.objects("SMALL")
        assert store.put("a", DATA[:25_000]).chunks == 3
        assert store.get("a") == DATA[:25_000]


@pytest.mark.parametrize("headers", [{"a b": ""}, {"": "x"}, {"a:": "x"}, {"a": "x\r\nb: c"}, {"ä": "x"}])
def test_headers_that_break_the_rule(store: ObjectStore, headers: dict[str, str]) -> None:
    with pytest.raises(RuleError, match="header"):
        store.put("a", b"x", headers=headers)
    assert "a" not in store


# Damage


def _damaged(store: ObjectStore, tmp_path: Path) -> ObjectDamagedError:
    """Reads the damaged object `a` and returns the error; checks that the target file is unchanged."""
    target = tmp_path / "target"
    target.write_bytes(b"before")
    with pytest.raises(ObjectDamagedError) as error:
        store.get_file("a", target)
    assert target.read_bytes() == b"before"
    target.unlink()
    with pytest.raises(ObjectDamagedError):
        store.get_file("a", target)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ObjectDamagedError):
        store.get("a")
    assert (error.value.bucket, error.value.object) == (store.name, "a")
    assert pickle.loads(pickle.dumps(error.value)).chunk == error.value.chunk
    return error.value


@pytest.mark.parametrize("missing", range(1, 6))
def test_a_missing_chunk_is_named(store: ObjectStore, stream: Stream, tmp_path: Path, missing: int) -> None:
    store.put("a", DATA[:4500], chunk_size=1000)
    stream.delete_message(missing)
    # The missing chunk is reported at once; after a timeout the message would be "does not come".
    error = _damaged(store, tmp_path)
    assert str(error) == f"object 'a' in {store.name} is damaged: chunk {missing} of 5 is missing"
    assert error.chunk == missing


def _described(stream: Stream, **changes: Any) -> None:
    """Changes the stored description of the object `a`."""
    last = stream.last("$O.*.M.>")
    stream.publish(last.subject, json.dumps({**json.loads(last.data), **changes}).encode())


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"digest": "SHA-256=AAAA"}, "its 5 chunks have the digest SHA-256="),
        ({"digest": ""}, "its 5 chunks have the digest"),
        ({"size": 4499}, "chunk 5 of 5 has 500 bytes, not 499"),
        ({"size": 5500}, "chunk 5 of 5 has 500 bytes, not 1500"),
        ({"size": 10}, "chunk 1 of 5 has 1000 bytes"),
        ({"chunks": 4}, "5 chunks are there, not 4"),
        ({"chunks": 6}, "chunk . of 6 is missing"),
        ({"chunks": 0}, "it has 0 bytes, not 4500"),
    ],
)
def test_a_description_that_does_not_fit(
    store: ObjectStore, stream: Stream, tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    store.put("a", DATA[:4500], chunk_size=1000)
    _described(stream, **changes)
    assert what.replace(".", "") in str(_damaged(store, tmp_path)).replace("6 of 6", " of 6").replace("1 of 6", " of 6")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"name": 5}',
        b'{"name": "a", "chunks": "many", "options": 7, "headers": [], "link": {}}',
        b'{"name": "a", "chunks": -1, "size": -1}',
        b'{"name": "a", "chunks": 1e99, "nuid": "\\u0000 >"}',
        b'{"name": "a", "size": 3, "chunks": 1, "nuid": "a b.>"}',
        b'{"name": "a", "options": {"link": {"bucket": "a.b", "name": "x"}}}',
    ],
)
def test_hostile_descriptions(store: ObjectStore, stream: Stream, data: bytes) -> None:
    stream.publish(f"$O.{store.name}.M.YQ==", data)
    list(store)
    with pytest.raises((ObjectDamagedError, ObjectNotFoundError, RuleError, JetStreamError)):
        store.get("a")


def test_a_stream_of_another_shape(server: Server) -> None:
    server.streams.create("OBJ_HAND", ["hand.>"], max_msgs=5)
    store = server.objects("HAND", create=False)
    assert store.store_info().sealed is False
    assert list(store) == []
    with pytest.raises(JetStreamError):
        store.put("a", b"1")


# Watching


def test_a_watch(store: ObjectStore) -> None:
    store.put("a", b"1")
    with store.watch() as changes:
        assert changes.next(30).name == "a"
        assert changes.is_current
        store.put("b", b"2")
        store.delete("a")
        assert [(one.name, one.deleted) for one in (changes.next(30), changes.next(30))] == [("b", False), ("a", True)]
        with pytest.raises(NoAnswerError):
            changes.next(0.05)
        threading.Timer(0.05, changes.close).start()
        assert list(changes) == []
    with store.watch(updates_only=True, deletes=False) as changes:
        store.delete("b")
        store.put("c", b"3")
        assert changes.next(30).name == "c"


# Event loops


async def _talk(store: AsyncObjectStore, folder: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(DATA), 100_000):
            yield DATA[at : at + 100_000]

    assert (await store.put("a", pieces(), description="Some")).size == len(DATA)
    assert await store.get("a") == DATA
    await store.get_file("a", folder / "a")
    assert (folder / "a").read_bytes() == DATA
    await store.put("b", folder / "a")
    await store.link("c", "b")
    assert [chunk async for chunk in store.read("c")] == [chunk async for chunk in store.read("a")]
    assert [info.name async for info in store.list()] == ["a", "b", "c"]
    assert (await store.info("a")).description == "Some"
    assert (await store.update("a", new_name="d")).name == "d"
    async with store.watch() as changes:
        assert [(await changes.next(30)).name for _ in range(3)] == ["b", "c", "d"]
        await store.delete("d")
        assert (await changes.next(30)).deleted
    with pytest.raises(ObjectNotFoundError):
        await store.get("d")
    await store.link_bucket("all", store.name)
    await store.seal()
    assert (await store.store_info()).sealed
    await store.drop()


def test_event_loops(server: Server, tmp_path: Path) -> None:
    async def main() -> None:
        await _talk(await server.objects_async("ASYNC"), tmp_path)

    asyncio.run(main())
    trio.run(main)


def test_what_is_cancelled_leaves_nothing(server: Server) -> None:
    async def main() -> None:
        store = await server.objects_async("CANCELLED")
        sent = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield bytes(1 << 17)
                sent.set()
                await asyncio.sleep(0)

        task = asyncio.create_task(store.put("a", endless()))
        await asyncio.wait_for(sent.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [info async for info in store.list()] == []
        stream = await server.streams_async.get("OBJ_CANCELLED")
        assert await stream.messages() == []

    asyncio.run(main())


def test_what_clients_put_is_got_and_the_other_way_round(server: Server) -> None:
    nats = pytest.importorskip("nats")

    async def main() -> None:
        client = await nats.connect(server.url)
        theirs = await client.jetstream().create_object_store("SHARED")
        ours = await server.objects_async("SHARED")
        await theirs.put("a", DATA)
        assert await ours.get("a") == DATA
        await ours.put("b", DATA, headers={"K": "v"}, chunk_size=1000)
        got = await theirs.get("b")
        assert (got.data, got.info.headers) == (DATA, {"K": ["v"]})
        await theirs.delete("a")
        with pytest.raises(ObjectNotFoundError):
            await ours.info("a")
        await ours.delete("b")
        with pytest.raises(nats.js.errors.ObjectNotFoundError):
            await theirs.get("b")
        await client.close()

    asyncio.run(main())
