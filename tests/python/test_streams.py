"""Streams and consumers without a socket."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import trio

from stonechat import (
    ConsumerNotFoundError,
    JetStreamError,
    MessageNotFoundError,
    NoAnswerError,
    RuleError,
    Server,
    Stream,
    StreamExistsError,
    StreamNotFoundError,
)


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


_names = itertools.count()


@pytest.fixture(name="stream")
def _stream(server: Server) -> Stream:
    name = f"S{next(_names)}"
    return server.streams.create(name, [f"{name}.>"])


def test_seeding_and_looking(stream: Stream) -> None:
    name = stream.name
    assert stream.seed([(f"{name}.{number % 2}", str(number).encode()) for number in range(1000)]) == 1000
    assert stream.seed({f"{name}.x": b"last"}) == 1001
    assert stream.publish(f"{name}.y", b"", headers={"Kind": "tea"}) == 1002
    messages = stream.messages(f"{name}.1")
    assert ([message.data for message in messages[:2]], len(messages)) == ([b"1", b"3"], 500)
    assert [message.sequence for message in stream.messages(start=1001)] == [1001, 1002]
    assert (stream.get(1001).data, stream.last().headers, stream.last(f"{name}.1").data) == (
        b"last",
        {"Kind": "tea"},
        b"999",
    )
    assert abs((datetime.now(timezone.utc) - stream.get(1).time).total_seconds()) < 60
    info = stream.info()
    assert (info.messages, info.first, info.last, info.consumers) == (1002, 1, 1002, 0)
    assert (len(stream), bool(stream)) == (1002, True)


def test_what_is_not_there(server: Server, stream: Stream) -> None:
    assert (stream.messages(), len(stream), bool(stream)) == ([], 0, True)
    for subject in (None, f"{stream.name}.x"):
        with pytest.raises(MessageNotFoundError, match="has no message on"):
            stream.last(subject)
    with pytest.raises(MessageNotFoundError, match=f"stream {stream.name} has no message at 1"):
        stream.get(1)
    with pytest.raises(StreamNotFoundError, match="no stream takes nowhere"):
        stream.publish("nowhere", b"")
    other = server.streams.create(f"{stream.name}-OTHER", ["other"])
    with pytest.raises(JetStreamError, match=f"other went to stream {other.name}, not to {stream.name}"):
        stream.publish("other", b"")
    with pytest.raises(KeyError, match="there is no stream NONE"):
        server.streams["NONE"]
    stream.drop()
    for gone in (stream.info, stream.drop, stream.messages):
        with pytest.raises(StreamNotFoundError):
            gone()


def test_waiting(stream: Stream) -> None:
    name = stream.name
    later = threading.Timer(0.05, stream.seed, [[(f"{name}.a", b"1"), (f"{name}.b", b"2"), (f"{name}.a", b"3")]])
    later.start()
    assert [message.data for message in stream.wait_for(2, subject=f"{name}.a", timeout=30)] == [b"1", b"3"]
    later.join()
    assert len(stream.wait_for(1)) == 3
    assert [message.data for message in stream.wait_for(2, start=2)] == [b"2", b"3"]
    assert stream.wait_for(0, subject=f"{name}.none") == []
    with pytest.raises(
        TimeoutError, match=rf"3 of 4 messages in stream {name} within 0 s; there is: {name}.a, {name}.b"
    ):
        stream.wait_for(4, timeout=0.0)
    with pytest.raises(NoAnswerError, match=f"0 of 1 messages on '{name}.none'.*; there is: nothing"):
        stream.wait_for(1, subject=f"{name}.none", timeout=0.01)


def test_changing(stream: Stream) -> None:
    name = stream.name
    stream.seed([(f"{name}.{number % 2}", b"x") for number in range(10)])
    stream.delete_message(1)
    assert stream.purge(subject=f"{name}.1", keep=1) == 4
    assert stream.purge(before=5) == 1
    assert [message.sequence for message in stream.messages()] == [5, 7, 9, 10]
    assert stream.purge() == 4
    assert stream.update(max_msgs=2, max_age=60, duplicate_window=60).config["max_age"] == 60_000_000_000
    stream.seed([(f"{name}.a", b"x")] * 3)
    assert len(stream) == 2
    with pytest.raises(JetStreamError):
        stream.delete_message(99)


def test_streams_are_a_mapping(server: Server) -> None:
    with Server(jetstream=True) as own:
        assert dict(own.streams) == {}
        own.streams.create("A", "a.*", max_age=60, storage="memory")
        own.streams.create("B")
        own.streams.create("B")
        assert (list(own.streams), len(own.streams), "A" in own.streams, "C" in own.streams) == (
            ["A", "B"],
            2,
            True,
            False,
        )
        assert own.streams["B"].info().subjects == ["B"]
        assert own.streams.names(subject="a.1") == ["A"]
        assert own.streams["A"].info().config["max_age"] == 60_000_000_000
        with pytest.raises(StreamExistsError):
            own.streams.create("A", "b")
        with pytest.raises(StreamExistsError, match="subjects overlap"):
            own.streams.create("C", "a.>")
        del own.streams["A"]
        with pytest.raises(StreamNotFoundError):
            del own.streams["A"]


def test_many_streams_are_listed(server: Server) -> None:
    with Server(jetstream=True) as own:
        for number in range(1030):
            own.streams.create(f"S{number:04}", storage="memory")
        assert len(own.streams) == 1030
        assert list(own.streams) == [f"S{number:04}" for number in range(1030)]


def test_consumers(server: Server, stream: Stream) -> None:
    stream.seed([(f"{stream.name}.a", b"1"), (f"{stream.name}.b", b"2")])
    made = server.consumers.create(stream.name, "worker", filter_subject=f"{stream.name}.a", ack_wait=5)
    assert (made.stream, made.name, made.pending, made.config["ack_wait"]) == (stream.name, "worker", 1, 5_000_000_000)
    temporary = server.consumers.create(stream.name, inactive_threshold=60)
    assert {consumer.name for consumer in stream.consumers} == {"worker", temporary.name}
    assert "worker" in [consumer.name for consumer in server.consumers]
    assert (len(stream.consumers), server.consumers.get(stream.name, "worker").ack_pending) == (2, 0)
    server.consumers.delete(stream.name, "worker")
    for use in (server.consumers.get, server.consumers.delete):
        with pytest.raises(ConsumerNotFoundError, match=f"stream {stream.name} has no consumer worker"):
            use(stream.name, "worker")
    with pytest.raises(JetStreamError):
        server.consumers.create(stream.name, "bad", ack_policy="sometimes")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a*", "a>", "a/b", "a\\b", "x" * 256, None, 5, "a\r\n"])
def test_names_that_break_the_rule(server: Server, name: Any) -> None:
    with pytest.raises(RuleError, match="can't be a stream: a name has 1 to 255 characters"):
        server.streams.create(name)
    with pytest.raises(RuleError, match="can't be a stream"):
        server.streams[name]
    with pytest.raises(RuleError, match="can't be a stream"):
        server.consumers.get(name, "worker")
    with pytest.raises(RuleError, match="can't be a consumer"):
        server.consumers.get("S", name)


@pytest.mark.parametrize("subject", ["", ".a", "a..b", "a b", "a.>.b", "a\r\nb", None, 5])
def test_subjects_that_break_the_rule(server: Server, stream: Stream, subject: Any) -> None:
    with pytest.raises(RuleError, match="can't be a subject"):
        stream.publish(subject, b"")
    with pytest.raises(RuleError, match="can't be a subject"):
        server.streams.create("BAD", [subject])
    for wildcard in ("a.*", ">"):
        with pytest.raises(RuleError, match=r"can't be published to: \* and > are for those who listen"):
            stream.publish(wildcard, b"")


async def _talk(server: Server) -> None:
    stream = await server.streams_async.create("ASYNC", ["async.>"])
    await stream.publish("async.a", b"1", headers={"K": "v"})
    await stream.seed([("async.b", b"2"), ("async.b", b"3")])
    assert [message.data for message in await stream.messages("async.b")] == [b"2", b"3"]
    assert [message.data async for message in stream.read(start=2)] == [b"2", b"3"]
    assert len(await stream.wait_for(3)) == 3
    with pytest.raises(NoAnswerError):
        await stream.wait_for(4, timeout=0.01)
    assert (await stream.get(1)).headers == {"K": "v"}
    assert (await stream.last()).data == b"3"
    assert (await stream.update(max_msgs=2)).messages == 2
    await server.consumers_async.create("ASYNC", "worker")
    assert [consumer.name for consumer in await server.consumers_async.list()] == ["worker"]
    assert (await server.consumers_async.get("ASYNC", "worker")).pending == 2
    await server.consumers_async.delete("ASYNC", "worker")
    await stream.delete_message(3)
    assert await stream.purge() == 1
    assert await server.streams_async.names() == ["ASYNC"]
    await (await server.streams_async.get("ASYNC")).drop()
    with pytest.raises(StreamNotFoundError):
        await stream.info()


def test_event_loops() -> None:
    with Server(jetstream=True) as server:
        asyncio.run(_talk(server))
        trio.run(_talk, server)
