"""Streams and consumers of a server in this process: created, filled and inspected without a client library."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from . import _streams
from ._link import run, run_async
from ._streams import ConsumerInfo, Rules, StoredMessage, StreamInfo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from ._link import Access, Connection, Ops
    from ._reader import Reader
    from .options import Seconds


T = TypeVar("T")

__all__ = [
    "AsyncConsumers",
    "AsyncStream",
    "AsyncStreams",
    "ConsumerInfo",
    "Consumers",
    "StoredMessage",
    "Stream",
    "StreamInfo",
    "Streams",
]


def _pairs(messages: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> Iterable[tuple[str, bytes]]:
    return messages.items() if isinstance(messages, Mapping) else messages


class Streams(Mapping[str, "Stream"]):
    """The streams of a server, a mapping by name. [`Server.streams`][stonechat.Server.streams] returns it.

    orders = server.streams.create("ORDERS", ["orders.*"], max_msgs=1000)
    orders.seed([("orders.new", b"1"), ("orders.paid", b"2")])
    assert [message.data for message in orders.messages()] == [b"1", b"2"]
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def login(self, **credentials: str) -> Streams:
        """Return the streams of another account, selected by `user` and `password`, or `token`."""
        return Streams(type(self._access)(self._access.server, credentials))

    def create(self, name: str, subjects: Iterable[str] = (), **config: Any) -> Stream:
        """Create a stream.

        Args:
            name: Name of the stream.
            subjects: Subjects that the stream stores.
            config: Other fields of JetStream's stream configuration, such as `max_msgs`, `retention` or `storage`;
                times are in seconds.

        Raises:
            RuleError: If a name is not valid; the message says why.
            StreamExistsError: If a stream with this name exists and has another configuration, or if the subjects
                overlap with those of another stream.
            JetStreamError: If JetStream is off, or the server refuses the request for another reason.
        """
        self._access.run(lambda c: _streams.create(c, name, subjects, config))
        return self[name]

    def __getitem__(self, name: str) -> Stream:
        self._access.run(lambda c: _streams.info(c, name))
        return Stream(self._access, name)

    def __delitem__(self, name: str) -> None:
        self._access.run(Rules(self._access, name).drop)

    def names(self, *, subject: str | None = None) -> list[str]:
        """Return the names of all streams, or of the streams that store a subject."""
        return self._access.run(lambda c: _streams.stream_names(c, subject))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __repr__(self) -> str:
        return f"<stonechat.Streams of {self._access.server!r}>"

    def _repr_html_(self) -> str:
        from ._html import streams

        return streams(self)


class Stream:
    """A stream. [`Server.streams`][stonechat.Server.streams] returns it by its name."""

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._rules = Rules(access, name)

    def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return self._access.run(ops)

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._rules.name

    def info(self) -> StreamInfo:
        """Return the configuration and state of the stream."""
        return self._run(lambda c: _streams.info(c, self.name))

    def __len__(self) -> int:
        return self.info().messages

    def __bool__(self) -> bool:
        # Without this method, an empty stream would be false.
        return True

    # Filling

    def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> int:
        """Publish a message, wait until the stream acknowledges it, and return its sequence.

        Raises:
            StreamNotFoundError: If no stream stores the subject.
            JetStreamError: If another stream stored the message, or the stream refused it.
        """
        return self._run(lambda c: self._rules.publish(c, subject, data, headers or {}))

    def seed(self, messages: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> int:
        """Publish pairs of subject and data, wait for all acknowledgements, and return the last sequence."""
        return self._run(lambda c: self._rules.seed(c, _pairs(messages), deque()))

    # Looking

    def messages(self, subject: str | None = None, *, start: int = 1) -> list[StoredMessage]:
        """Return the stored messages, in order.

        Args:
            subject: Subject or pattern that the messages must match.
            start: First sequence to return.
        """
        return list(self.read(subject, start=start))

    def read(self, subject: str | None = None, *, start: int = 1) -> Iterator[StoredMessage]:
        """Iterate over the stored messages, like [`messages`][stonechat.streams.Stream.messages] without a list."""
        reader = self._rules.reader(subject, start)
        self._run(reader.begin)
        return self._stored(reader)

    def _stored(self, reader: Reader) -> Iterator[StoredMessage]:
        try:
            while (found := run(reader.next_stored())) is not None:
                yield self._rules.delivered(found)
        finally:
            reader.close()

    def get(self, sequence: int) -> StoredMessage:
        """Return the message with a sequence.

        Raises:
            MessageNotFoundError: If the stream does not hold this message.
        """
        return self._run(lambda c: self._rules.get(c, sequence, None))

    def last(self, subject: str | None = None) -> StoredMessage:
        """Return the last message, or the last message on a subject.

        Raises:
            MessageNotFoundError: If there is no such message.
        """
        return self._run(lambda c: self._rules.get(c, None, subject))

    def wait_for(
        self, count: int, *, subject: str | None = None, start: int = 1, timeout: Seconds = 5.0
    ) -> list[StoredMessage]:
        """Wait until the stream holds at least `count` matching messages, and return all of them.

        Raises:
            NoAnswerError: If they don't arrive in time. It is a `TimeoutError` and lists the subjects of the messages
                that did arrive.
        """
        from .server import _limit

        return self._run(lambda c: self._rules.wait_for(c, count, subject, start, _limit(timeout)))

    # Changing

    def update(self, **config: Any) -> StreamInfo:
        """Change the configuration; fields that are not given stay as they are."""
        return self._run(lambda c: self._rules.update(c, config))

    def purge(self, *, subject: str | None = None, keep: int | None = None, before: int | None = None) -> int:
        """Remove messages, and return the number of removed messages.

        Args:
            subject: Subject or pattern that the removed messages must match.
            keep: Number of last messages to keep.
            before: Remove only messages before this sequence.
        """
        return self._run(lambda c: self._rules.purge(c, subject, keep, before))

    def delete_message(self, sequence: int) -> None:
        """Remove one message."""
        self._run(lambda c: self._rules.remove(c, sequence))

    def drop(self) -> None:
        """Delete the stream and its messages."""
        self._run(self._rules.drop)

    @property
    def consumers(self) -> Consumers:
        """The consumers of the stream."""
        return Consumers(self._access, self.name)

    def __repr__(self) -> str:
        return f"<stonechat.Stream {self.name}>"

    def _repr_html_(self) -> str:
        from ._html import stream

        return stream(self)


class Consumers:
    """The consumers of all streams (`Server.consumers`), or of one stream (`Stream.consumers`).

    server.consumers.create("ORDERS", "worker", filter_subject="orders.new")
    assert [consumer.name for consumer in server.consumers] == ["worker"]
    """

    def __init__(self, access: Access, stream: str | None = None) -> None:
        self._access = access
        self._stream = stream

    def create(self, stream: str, name: str | None = None, **config: Any) -> ConsumerInfo:
        """Create a consumer: a durable one if it has a name, else one that the server removes when it is inactive.

        Args:
            stream: Name of the stream.
            name: Name of the consumer.
            config: Other fields of JetStream's consumer configuration, such as `filter_subject` or `ack_policy`;
                times are in seconds.
        """
        return self._access.run(lambda c: _streams.create_consumer(c, stream, name, config))

    def get(self, stream: str, name: str) -> ConsumerInfo:
        """Return the configuration and state of a consumer.

        Raises:
            ConsumerNotFoundError: If the stream has no such consumer.
        """
        return self._access.run(lambda c: _streams.consumer(c, stream, name))

    def delete(self, stream: str, name: str) -> None:
        """Delete a consumer."""
        self._access.run(lambda c: _deleted(c, stream, name))

    def __iter__(self) -> Iterator[ConsumerInfo]:
        return iter(self._access.run(self._all))

    def _all(self, connection: Connection) -> Ops[list[ConsumerInfo]]:
        return _listed(connection, self._stream)

    def __len__(self) -> int:
        return len(self._access.run(self._all))

    def __repr__(self) -> str:
        return f"<stonechat.Consumers of {self._stream or repr(self._access.server)}>"


def _deleted(connection: Connection, stream: str, name: str) -> Ops[None]:
    yield from _streams.consumer(connection, stream, name)
    yield from connection.api(f"CONSUMER.DELETE.{stream}.{name}")


def _listed(connection: Connection, stream: str | None) -> Ops[list[ConsumerInfo]]:
    names = (yield from _streams.stream_names(connection)) if stream is None else [stream]
    found: list[ConsumerInfo] = []
    for name in names:
        found += yield from _streams.consumers(connection, name)
    return found


# For event loops


class AsyncStreams:
    """The streams of a server, for event loops. [`Server.streams_async`][stonechat.Server.streams_async] returns it."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def create(self, name: str, subjects: Iterable[str] = (), **config: Any) -> AsyncStream:
        """Like [`Streams.create`][stonechat.streams.Streams.create]."""
        await self._access.run_async(lambda c: _streams.create(c, name, subjects, config))
        return AsyncStream(self._access, name)

    async def get(self, name: str) -> AsyncStream:
        """Return a stream.

        Raises:
            StreamNotFoundError: If the stream does not exist.
        """
        await self._access.run_async(lambda c: _streams.info(c, name))
        return AsyncStream(self._access, name)

    async def names(self, *, subject: str | None = None) -> list[str]:
        """Like [`Streams.names`][stonechat.streams.Streams.names]."""
        return await self._access.run_async(lambda c: _streams.stream_names(c, subject))


class AsyncStream:
    """A stream for event loops: like [`Stream`][stonechat.streams.Stream], with methods to be awaited."""

    def __init__(self, access: Access, name: str) -> None:
        self._access = access
        self._rules = Rules(access, name)

    async def _run(self, ops: Callable[[Connection], Ops[T]]) -> T:
        return await self._access.run_async(ops)

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._rules.name

    async def info(self) -> StreamInfo:
        """Like [`Stream.info`][stonechat.streams.Stream.info]."""
        return await self._run(lambda c: _streams.info(c, self.name))

    async def publish(self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None) -> int:
        """Like [`Stream.publish`][stonechat.streams.Stream.publish]."""
        return await self._run(lambda c: self._rules.publish(c, subject, data, headers or {}))

    async def seed(self, messages: Iterable[tuple[str, bytes]] | Mapping[str, bytes]) -> int:
        """Like [`Stream.seed`][stonechat.streams.Stream.seed]."""
        return await self._run(lambda c: self._rules.seed(c, _pairs(messages), deque()))

    async def messages(self, subject: str | None = None, *, start: int = 1) -> list[StoredMessage]:
        """Like [`Stream.messages`][stonechat.streams.Stream.messages]."""
        return [message async for message in self.read(subject, start=start)]

    async def read(self, subject: str | None = None, *, start: int = 1) -> AsyncIterator[StoredMessage]:
        """Like [`Stream.read`][stonechat.streams.Stream.read], for `async for`."""
        reader = self._rules.reader(subject, start)
        try:
            await self._run(reader.begin)
            while (found := await run_async(reader.next_stored())) is not None:
                yield self._rules.delivered(found)
        finally:
            reader.close()

    async def get(self, sequence: int) -> StoredMessage:
        """Like [`Stream.get`][stonechat.streams.Stream.get]."""
        return await self._run(lambda c: self._rules.get(c, sequence, None))

    async def last(self, subject: str | None = None) -> StoredMessage:
        """Like [`Stream.last`][stonechat.streams.Stream.last]."""
        return await self._run(lambda c: self._rules.get(c, None, subject))

    async def wait_for(
        self, count: int, *, subject: str | None = None, start: int = 1, timeout: Seconds = 5.0
    ) -> list[StoredMessage]:
        """Like [`Stream.wait_for`][stonechat.streams.Stream.wait_for]."""
        from .server import _limit

        return await self._run(lambda c: self._rules.wait_for(c, count, subject, start, _limit(timeout)))

    async def update(self, **config: Any) -> StreamInfo:
        """Like [`Stream.update`][stonechat.streams.Stream.update]."""
        return await self._run(lambda c: self._rules.update(c, config))

    async def purge(self, *, subject: str | None = None, keep: int | None = None, before: int | None = None) -> int:
        """Like [`Stream.purge`][stonechat.streams.Stream.purge]."""
        return await self._run(lambda c: self._rules.purge(c, subject, keep, before))

    async def delete_message(self, sequence: int) -> None:
        """Like [`Stream.delete_message`][stonechat.streams.Stream.delete_message]."""
        await self._run(lambda c: self._rules.remove(c, sequence))

    async def drop(self) -> None:
        """Like [`Stream.drop`][stonechat.streams.Stream.drop]."""
        await self._run(self._rules.drop)

    def __repr__(self) -> str:
        return f"<stonechat.AsyncStream {self.name}>"


class AsyncConsumers:
    """Consumers, for event loops. [`Server.consumers_async`][stonechat.Server.consumers_async] returns it."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def create(self, stream: str, name: str | None = None, **config: Any) -> ConsumerInfo:
        """Like [`Consumers.create`][stonechat.streams.Consumers.create]."""
        return await self._access.run_async(lambda c: _streams.create_consumer(c, stream, name, config))

    async def get(self, stream: str, name: str) -> ConsumerInfo:
        """Like [`Consumers.get`][stonechat.streams.Consumers.get]."""
        return await self._access.run_async(lambda c: _streams.consumer(c, stream, name))

    async def delete(self, stream: str, name: str) -> None:
        """Like [`Consumers.delete`][stonechat.streams.Consumers.delete]."""
        await self._access.run_async(lambda c: _deleted(c, stream, name))

    async def list(self, stream: str | None = None) -> list[ConsumerInfo]:
        """Return all consumers, or the consumers of one stream."""
        return await self._access.run_async(lambda c: _listed(c, stream))
