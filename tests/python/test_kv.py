"""Key-value buckets without a socket."""

from __future__ import annotations

import asyncio
import itertools
import pickle
import queue
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from stonechat import (
    AsyncBucket,
    Bucket,
    BucketExistsError,
    BucketNotFoundError,
    ConnectError,
    Entry,
    JetStreamError,
    KeyExistsError,
    KeyNotFoundError,
    NoAnswerError,
    NotAllowedError,
    NotRunningError,
    RuleError,
    Server,
    WrongRevisionError,
)
from stonechat._link import Connection

if TYPE_CHECKING:
    from stonechat._link import Login
    from stonechat._stonechat import Handle


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


_names = itertools.count()


@pytest.fixture(name="bucket")
def _bucket(server: Server) -> Bucket:
    return server.kv(f"B{next(_names)}", history=3, marker_ttl=60)


# A mapping


def test_a_bucket_is_a_mapping(bucket: Bucket) -> None:
    bucket["a.b"] = b"1"
    bucket.update({"a.c": b"2", "d": b"3"})
    assert bucket["a.b"] == b"1"
    assert list(bucket) == ["a.b", "a.c", "d"]
    assert dict(bucket) == dict(bucket.items()) == {"a.b": b"1", "a.c": b"2", "d": b"3"}
    assert sorted(bucket.values()) == [b"1", b"2", b"3"]
    assert (len(bucket), "d" in bucket, "e" in bucket, bucket.__contains__(5)) == (3, True, False, False)
    del bucket["a.b"]
    assert (bucket.get("a.b"), bucket.get("a.b", b"x")) == (None, b"x")
    assert (bucket.pop("a.c"), bucket.pop("a.c", b"gone")) == (b"2", b"gone")
    assert (bucket.setdefault("d", b"4"), bucket.setdefault("e", b"5")) == (b"3", b"5")
    bucket.clear()
    assert (len(bucket), bucket.info().values) == (0, 0)


def test_what_is_not_there(bucket: Bucket) -> None:
    for missing in (lambda: bucket["x"], lambda: bucket.pop("x"), lambda: bucket.entry("x"), lambda: bucket.popitem()):
        with pytest.raises(KeyError):
            missing()
    with pytest.raises(KeyNotFoundError, match=rf"^bucket {bucket.name} has no value of key 'x'$"):
        del bucket["x"]
    assert (bucket.history("x"), list(bucket.find("x"))) == ([], [])


def test_an_empty_bucket_is_no_error(bucket: Bucket) -> None:
    # nats-py raises NoKeysError (nats.py #582).
    assert (list(bucket), list(bucket.items()), list(bucket.find("a.*")), len(bucket)) == ([], [], [], 0)
    bucket["a"] = b""
    del bucket["a"]
    assert list(bucket.find()) == []


def test_revisions(bucket: Bucket) -> None:
    first = bucket.put("a", b"1")
    assert bucket.entry("a").revision == first
    second = bucket.replace("a", b"2", revision=first)
    with pytest.raises(WrongRevisionError, match=r"key 'a' of bucket .* is not at revision 1: wrong last sequence: 2"):
        bucket.replace("a", b"3", revision=first)
    assert bucket.entry("a", revision=first).value == b"1"
    with pytest.raises(WrongRevisionError):
        bucket.delete("a", revision=first)
    bucket.delete("a", revision=second)
    # The revision of another key is not found.
    other = bucket.put("b", b"x")
    with pytest.raises(KeyNotFoundError, match="at revision"):
        bucket.entry("a", revision=other)


def test_create(bucket: Bucket) -> None:
    bucket.create("a", b"1")
    with pytest.raises(KeyExistsError, match="has a value already, of revision 1"):
        bucket.create("a", b"2")
    del bucket["a"]
    bucket.create("a", b"3")
    bucket.purge("a")
    bucket.create("a", b"4")
    assert bucket["a"] == b"4"


def test_only_one_of_many_creates(server: Server, bucket: Bucket) -> None:
    won: list[int] = []

    def create(number: int) -> None:
        try:
            server.kv(bucket.name).create("a", str(number).encode())
            won.append(number)
        except KeyExistsError:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [str(number).encode() for number in won] == [bucket["a"]]


def test_history_and_times(bucket: Bucket) -> None:
    for value in (b"1", b"2", b"3", b"4"):
        bucket["a"] = value
    del bucket["a"]
    entries = bucket.history("a")
    assert [(entry.value, entry.operation) for entry in entries] == [(b"3", "put"), (b"4", "put"), (b"", "delete")]
    assert abs(datetime.now(timezone.utc) - entries[0].created) < timedelta(seconds=60)
    assert entries[0] == Entry(bucket.name, "a", b"3", 3, entries[0].created, "put")
    bucket.purge("a")
    assert [entry.operation for entry in bucket.history("a")] == ["purge"]
    assert bucket.compact() == 1
    assert bucket.history("a") == []


def test_compacting_leaves_young_markers(bucket: Bucket) -> None:
    bucket.update({"a": b"1", "b": b"2"})
    bucket.delete("a")
    assert bucket.compact(older_than=3600) == 1
    assert [entry.operation for entry in bucket.history("a")] == ["delete"]
    assert bucket.compact(older_than=timedelta(0)) == 1
    assert list(bucket) == ["b"]


def test_a_key_with_a_time_of_its_own(server: Server) -> None:
    # As in nats-server, a ttl that is shorter than `marker_ttl` is raised to `marker_ttl`.
    bucket = server.kv("SHORT", marker_ttl=1)
    with bucket.watch("short") as changes:
        bucket.create("short", b"1", ttl=1)
        assert changes.next(30).value == b"1"
        assert changes.next(30).operation == "purge"
    assert "short" not in bucket


@pytest.mark.parametrize("storage", ["file", "memory"])
def test_options(server: Server, storage: Any) -> None:
    bucket = server.kv(
        f"OPTIONS-{storage}",
        history=5,
        ttl=timedelta(hours=1),
        marker_ttl=2,
        max_bytes=1 << 20,
        max_value_size=10,
        storage=storage,
        compression=storage == "file",
        description="Some",
        metadata={"team": "red"},
        republish=(">", "kv.>"),
    )
    info = bucket.info()
    assert (info.history, info.ttl, info.marker_ttl, info.max_bytes, info.max_value_size) == (5, 3600, 2, 1 << 20, 10)
    assert (info.storage, info.compression, info.description) == (storage, storage == "file", "Some")
    assert (info.metadata, info.config["republish"]["dest"]) == ({"team": "red"}, "kv.>")
    assert server.kv(bucket.name).info().history == 5
    assert bucket.configure(history=6, description="Other").history == 6
    with pytest.raises(BucketExistsError, match="is there with another configuration"):
        server.kv(bucket.name, history=7)
    with pytest.raises(TypeError, match="no option colour"):
        server.kv("X", colour="red")  # type: ignore[call-arg]


def test_copies(server: Server) -> None:
    origin = server.kv("ORIGIN")
    origin["a"] = b"1"
    mirror = server.kv("MIRROR", mirror="ORIGIN")
    merged = server.kv("MERGED", sources=["ORIGIN"])
    for copy in (mirror, merged):
        with copy.watch("a") as changes:
            assert changes.next(30).value == b"1"
    # Writes to a mirror are sent to its origin.
    with mirror.watch("b") as changes:
        mirror["b"] = b"2"
        assert changes.next(30).value == b"2"
    assert (origin["b"], mirror["b"]) == (b"2", b"2")


def test_finding_and_dropping(server: Server) -> None:
    with pytest.raises(BucketNotFoundError, match=r"^there is no bucket NONE$"):
        server.kv("NONE", create=False)
    bucket = server.kv("GOES")
    bucket.drop()
    for use in (
        lambda: bucket["a"],
        lambda: bucket.put("a", b""),
        lambda: bucket.info(),
        lambda: list(bucket),
        lambda: bucket.drop(),
        lambda: bucket.clear(),
    ):
        with pytest.raises(BucketNotFoundError, match="there is no bucket GOES"):
            use()


# Rules


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a*", "ü", "a/b", "x" * 252, None, 5, "a\r\nPUB x 0\r\n"])
def test_names_that_break_the_rule(server: Server, name: Any) -> None:
    with pytest.raises(RuleError, match="can't be a bucket: a name is made of letters, digits, - and _"):
        server.kv(name)


@pytest.mark.parametrize(
    "key", ["", ".", "a.", ".a", "a..b", "a b", "a*", "a.>", "ü", "a\x00", "a\r\nPING", None, b"a"]
)
def test_keys_that_break_the_rule(bucket: Bucket, key: Any) -> None:
    sent = bucket.info().values
    for use in (
        lambda: bucket[key],
        lambda: bucket.put(key, b""),
        lambda: bucket.create(key, b""),
        lambda: bucket.delete(key),
        lambda: bucket.purge(key),
        lambda: bucket.history(key),
        lambda: bucket.replace(key, b"", revision=1),
    ):
        with pytest.raises(RuleError, match="can't be a key: a key is made of letters, digits, -, /, _, = and dots"):
            use()
    assert bucket.info().values == sent


@pytest.mark.parametrize("pattern", ["a.>.b", "a*", "*a", "", "a..*", "a b"])
def test_filters_that_break_the_rule(bucket: Bucket, pattern: str) -> None:
    for use in (bucket.find, bucket.watch):
        with pytest.raises(RuleError, match=r"in a filter \* stands for one token"):
            use(pattern)


@pytest.mark.parametrize("revision", [-1, 1.5, "1", None, True, 1 << 64])
def test_revisions_that_break_the_rule(bucket: Bucket, revision: Any) -> None:
    with pytest.raises(RuleError, match="can't be a revision"):
        bucket.replace("a", b"", revision=revision)
    if revision is not None:
        with pytest.raises(RuleError, match="can't be a revision"):
            bucket.entry("a", revision=revision)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"history": 0}, "history can't be 0: it is a whole number from 1 to 64"),
        ({"history": 65}, "from 1 to 64"),
        ({"ttl": -1}, "a ttl can't be -1 s"),
        ({"ttl": float("nan")}, "a ttl can't be nan"),
        ({"marker_ttl": 0.5}, "at least 1 s"),
        ({"max_bytes": -1}, "max_bytes can't be -1"),
        ({"max_value_size": 1 << 31}, "max_value_size"),
        ({"storage": "tape"}, "it is 'file' or 'memory'"),
        ({"mirror": "A", "sources": ["B"]}, "not both"),
        ({"mirror": "a.b"}, "can't be a bucket"),
        ({"republish": ("a b", "c")}, "can't be a subject"),
    ],
)
def test_options_that_break_the_rule(server: Server, options: Any, rule: str) -> None:
    with pytest.raises(RuleError, match=rule):
        server.kv("BAD", **options)
    assert "KV_BAD" not in server.streams


def test_sizes_that_break_the_rule(server: Server) -> None:
    bucket = server.kv("SMALL", max_value_size=10)
    with pytest.raises(RuleError, match="11 bytes for key 'a' are more than bucket SMALL takes: max_value_size is 10"):
        bucket["a"] = b"x" * 11
    big = server.kv("BIG")
    with pytest.raises(RuleError, match="more than the server's max_payload of 1048576 takes"):
        big["a"] = b"x" * ((1 << 20) + 1)
    # The connection still works after the error (nats.rs #1093).
    big["a"] = b"x" * (1 << 20)
    assert len(big["a"]) == 1 << 20
    with pytest.raises(TypeError, match=r"a value is bytes, not str; encode the text: .encode\(\)"):
        big["a"] = "text"  # type: ignore[assignment]


def test_what_the_server_refuses_has_its_words(server: Server) -> None:
    bucket = server.kv("FULL", max_bytes=200)
    bucket["a"] = b"x" * 100
    with pytest.raises(JetStreamError, match="maximum bytes exceeded") as refused:
        bucket["b"] = b"x" * 100
    assert (refused.value.code, refused.value.err_code) == (503, 10077)
    assert pickle.loads(pickle.dumps(refused.value)).err_code == 10077
    with pytest.raises(JetStreamError, match="per-message TTL is disabled"):
        bucket.create("a", b"", ttl=5)


# Filters and watches


def test_the_server_filters(server: Server) -> None:
    # nats-py reads all keys and matches filters as substrings (nats.py #768).
    bucket = server.kv("MANY")
    for number in range(300):
        bucket[f"a.{number}"] = b"x"
    bucket.update({"b.1": b"1", "bb.1": b"2", "b.1.c": b"3", "b": b"4"})
    before = server.stats().out_msgs
    assert [entry.key for entry in bucket.find("b.*")] == ["b.1"]
    assert [entry.key for entry in bucket.find("b", "*.*.c", values=False)] == ["b.1.c", "b"]
    assert [entry.key for entry in bucket.find("b.>")] == ["b.1", "b.1.c"]
    assert server.stats().out_msgs - before < 30
    entries = list(bucket.find("b.*", values=False))
    assert (entries[0].key, entries[0].value) == ("b.1", b"")


def test_a_watch_tells_what_is_there_and_what_comes(bucket: Bucket) -> None:
    bucket.update({"a.1": b"1", "b": b"2", "a.2": b"3"})
    with bucket.watch("a.*") as changes:
        assert changes.is_current is False
        assert [changes.next(30).key for _ in range(2)] == ["a.1", "a.2"]
        assert bool(changes.is_current)
        bucket["b"] = b"4"
        bucket["a.1"] = b"5"
        del bucket["a.2"]
        seen = [changes.next(30) for _ in range(2)]
        assert [(entry.key, entry.value, entry.operation) for entry in seen] == [
            ("a.1", b"5", "put"),
            ("a.2", b"", "delete"),
        ]
        with pytest.raises(TimeoutError, match=r"no change in bucket .* within 0.05 s"):
            changes.next(0.05)
    assert changes.is_closed
    assert list(changes) == []


def test_where_a_watch_begins(bucket: Bucket) -> None:
    for value in (b"1", b"2"):
        bucket["a"] = value
    last = bucket.put("b", b"3")
    with bucket.watch(history=True) as changes:
        assert [changes.next(30).value for _ in range(3)] == [b"1", b"2", b"3"]
    with bucket.watch(from_revision=last) as changes:
        assert changes.next(30).value == b"3"
    with bucket.watch(updates_only=True, values=False, deletes=False) as changes:
        assert changes.is_current
        del bucket["a"]
        bucket["c"] = b"4"
        assert (entry := changes.next(30)).key == "c"
        assert entry.value == b""
    with pytest.raises(TypeError, match="name one of them"):
        bucket.watch(history=True, updates_only=True)


def test_closing_a_watch_never_waits(bucket: Bucket) -> None:
    # nats-py's stop() blocks (nats.py #584), and iterating over its watch ends at once (#583).
    seen: queue.Queue[str] = queue.Queue()
    changes = bucket.watch()

    def look() -> None:
        for entry in changes:
            seen.put(entry.key)

    thread = threading.Thread(target=look)
    thread.start()
    bucket["a"] = b"1"
    assert seen.get(timeout=30) == "a"
    bucket["b"] = b"2"
    assert seen.get(timeout=30) == "b"
    changes.close()
    changes.close()
    thread.join(60)
    assert not thread.is_alive()


def test_watches_leave_no_consumers(server: Server, bucket: Bucket) -> None:
    stream = server.streams[f"KV_{bucket.name}"]
    bucket["a"] = b"1"
    for _ in range(20):
        with bucket.watch() as changes:
            changes.next(30)
        list(bucket.find())
        bucket.history("a")
    # The requests to remove them were sent before this one, over the same connection.
    assert len(stream.consumers) == 0


def test_a_watch_outlives_restarts(tmp_path: Path) -> None:
    with Server(jetstream=True, store_dir=tmp_path) as server:
        bucket = server.kv("B")
        with bucket.watch() as changes:
            for number in range(3):
                bucket["a"] = str(number).encode()
                assert changes.next(30).value == str(number).encode()
                server.restart()
            seen: list[bytes] = []
            thread = threading.Thread(target=lambda: seen.append(changes.next(30).value))
            thread.start()
            server.restart()
            bucket["a"] = b"last"
            thread.join(30)
            assert seen == [b"last"]


def test_a_watch_outlives_a_restart_while_it_connects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Connection.open
    restarts = 2

    def restarted(handle: Handle, login: Login) -> Connection:
        nonlocal restarts
        if restarts:
            restarts -= 1
            server.restart()
        return connect(handle, login)

    with Server(jetstream=True, store_dir=tmp_path) as server:
        bucket = server.kv("B")
        with bucket.watch() as changes:
            server.restart()
            bucket["a"] = b"1"
            server._connections.clear()
            monkeypatch.setattr(Connection, "open", restarted)
            assert changes.next(30).value == b"1"
            assert restarts == 0


def test_a_stop_ends_a_watch() -> None:
    server = Server(jetstream=True).start()
    bucket = server.kv("B")
    changes = bucket.watch()
    ended: list[BaseException] = []

    def look() -> None:
        try:
            changes.next()
        except NotRunningError as error:
            ended.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    server.stop()
    thread.join(30)
    assert len(ended) == 1
    with pytest.raises(NotRunningError):
        bucket["a"] = b""


def test_a_watch_of_a_consumer_that_is_gone_goes_on(server: Server, bucket: Bucket) -> None:
    stream = server.streams[f"KV_{bucket.name}"]
    with bucket.watch() as changes:
        bucket["a"] = b"1"
        assert changes.next(30).value == b"1"
        [consumer] = stream.consumers
        server.consumers.delete(stream.name, consumer.name)
        bucket["a"] = b"2"
        assert changes.next(60).value == b"2"


# Permissions and accounts


def test_permissions_and_accounts_are_those_of_any_client(tmp_path: Path) -> None:
    config = """
    accounts {
      A: { jetstream: enabled, users: [
        { user: all, password: x }
        { user: reader, password: x, permissions: { publish: { deny: ["$KV.>"] } } } ] }
      B: { jetstream: enabled, users: [{ user: other, password: x }] }
      C: { users: [{ user: none, password: x }] }
    }
    """
    logins = {name: {"user": name, "password": "x"} for name in ("all", "reader", "other", "none")}
    with Server(config, jetstream=True) as server:
        server.kv("K", login=logins["all"])["a"] = b"1"
        reader = server.kv("K", login=logins["reader"])
        assert reader["a"] == b"1"
        # An implementation that only waits for the answer would raise a NoAnswerError.
        with pytest.raises(NotAllowedError, match=r'Permissions Violation for Publish to "\$KV.K.a"'):
            reader["a"] = b"2"
        assert "KV_K" not in server.streams.login(**logins["other"])
        with pytest.raises(JetStreamError, match=r"JetStream not enabled for account|no JetStream"):
            server.kv("K", login=logins["none"])
        with pytest.raises(ConnectError, match="Authorization Violation"):
            server.kv("K", login={"user": "all", "password": "wrong"})
        with pytest.raises(RuleError, match="credentials are"):
            server.kv("K", login={"name": "all"})


def test_the_credentials_of_the_server_are_used() -> None:
    with Server(user="joe", password="secret", jetstream=True) as server:
        server.kv("K")["a"] = b"1"
        [connection] = server.connz(auth=True)["connections"]
        assert (connection["authorized_user"], connection["ip"]) == ("joe", "pipe")


def test_a_server_without_jetstream_says_so() -> None:
    with Server() as server, pytest.raises(JetStreamError, match=r"start it with Server\(jetstream=True\)"):
        server.kv("K")


def test_a_server_that_does_not_run_says_so() -> None:
    with pytest.raises(NotRunningError):
        Server(jetstream=True).kv("K")


# Event loops


async def _talk(bucket: AsyncBucket) -> None:
    assert await bucket.put("a.b", b"1") == 1
    assert await bucket.create("c", b"2") == 2
    with pytest.raises(KeyExistsError):
        await bucket.create("c", b"2")
    assert await bucket.replace("c", b"3", revision=2) == 3
    assert (await bucket.get("c"), await bucket.get("d"), await bucket.get("d", b"x")) == (b"3", None, b"x")
    assert (await bucket.entry("c")).revision == 3
    assert await bucket.keys("a.*") == ["a.b"]
    assert [entry.value async for entry in bucket.find()] == [b"1", b"3"]
    async with bucket.watch("a.*") as changes:
        assert (await changes.next(30)).key == "a.b"
        await bucket.delete("a.b")
        assert (await changes.next(30)).operation == "delete"
        with pytest.raises(NoAnswerError):
            await changes.next(0.01)
    assert [entry.operation for entry in await bucket.history("a.b")] == ["put", "delete"]
    await bucket.purge("c")
    assert await bucket.compact() == 3
    assert (await bucket.configure(history=9)).history == 9
    await bucket.clear()
    assert (await bucket.info()).values == 0
    await bucket.drop()
    with pytest.raises(BucketNotFoundError):
        await bucket.info()


def test_event_loops(server: Server) -> None:
    async def main() -> None:
        await _talk(await server.kv_async("ASYNC", history=2))

    asyncio.run(main())
    trio.run(main)


def test_an_event_loop_goes_on_while_a_watch_waits(bucket: Bucket, server: Server) -> None:
    async def main() -> None:
        watched = await server.kv_async(bucket.name)
        changes = watched.watch()
        last = asyncio.Event()

        async def look() -> None:
            async for entry in changes:
                if entry.value == b"49":
                    last.set()

        task = asyncio.create_task(look())
        for number in range(50):
            await watched.put("a", str(number).encode())
        await asyncio.wait_for(last.wait(), 30)
        changes.close()
        await asyncio.wait_for(task, 60)
        # A waiting `next` can be cancelled.
        waiting = asyncio.create_task(watched.watch(updates_only=True).next())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_a_restart_wakes_event_loops(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(jetstream=True, store_dir=tmp_path) as server:
            bucket = await server.kv_async("B")
            async with bucket.watch() as changes:
                waiting = asyncio.create_task(changes.next())
                await asyncio.sleep(0)
                await server.restart_async()
                await bucket.put("a", b"1")
                assert (await asyncio.wait_for(waiting, 30)).value == b"1"
            waiting = asyncio.create_task(bucket.watch(updates_only=True).next())
            await asyncio.sleep(0.01)
            await server.stop_async()
            with pytest.raises(NotRunningError):
                await asyncio.wait_for(waiting, 30)

    asyncio.run(main())


def test_no_thread_stays_behind() -> None:
    before = set(threading.enumerate())

    async def main() -> None:
        async with Server(jetstream=True) as server:
            bucket = await server.kv_async("B")
            await bucket.put("a", b"")
            assert any(thread.name == "stonechat-bell" for thread in threading.enumerate())

    asyncio.run(main())
    for thread in set(threading.enumerate()) - before:
        if thread.name == "stonechat-bell":
            thread.join(10)
            assert not thread.is_alive()


def test_many_threads_share_a_bucket(bucket: Bucket) -> None:
    def count() -> None:
        for _ in range(20):
            while True:
                entry = bucket.entry("n")
                try:
                    bucket.replace("n", str(int(entry.value) + 1).encode(), revision=entry.revision)
                except WrongRevisionError:
                    continue
                break

    bucket["n"] = b"0"
    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bucket["n"] == b"80"


def test_what_clients_write_is_seen_and_the_other_way_round(server: Server) -> None:
    nats = pytest.importorskip("nats")

    async def main() -> None:
        client = await nats.connect(server.url)
        # nats-py does not enable direct gets, so values of this bucket are read with the stream API.
        theirs = await client.jetstream().create_key_value(bucket="SHARED", history=2)
        ours = await server.kv_async("SHARED")
        await theirs.put("a", b"1")
        assert await ours.get("a") == b"1"
        await ours.put("a", b"2")
        assert (await theirs.get("a")).value == b"2"
        await theirs.delete("a")
        assert await ours.get("a") is None
        await ours.create("a", b"3")
        await ours.purge("a")
        with pytest.raises(nats.js.errors.KeyNotFoundError):
            await theirs.get("a")
        # A bucket created here has the same configuration as one of nats-py.
        made = await server.kv_async("MADE", history=2)
        names = ("allow_rollup_hdrs", "deny_delete", "discard", "max_msgs_per_subject", "duplicate_window")
        one, two = (await made.info()).config, (await ours.info()).config
        assert {name: one[name] for name in names} == {name: two[name] for name in names}
        await client.close()

    asyncio.run(main())
