"""Operations on streams and consumers, shared by the blocking and the asynchronous classes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _rules
from ._kv import number
from ._link import stored
from ._reader import Reader, Wanted
from .errors import (
    ConsumerNotFoundError,
    JetStreamError,
    MessageNotFoundError,
    NoAnswerError,
    StreamNotFoundError,
)

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ._link import Access, Connection, Ops
    from ._reader import Delivered
    from ._stonechat import Inbox

_UNDER_WAY = 256
"""Number of messages that may be in flight, sent but not acknowledged."""
_DURATIONS = frozenset(["max_age", "duplicate_window", "subject_delete_marker_ttl", "ack_wait", "inactive_threshold"])
"""JetStream's configuration fields that are durations."""


@dataclass(frozen=True)
class StoredMessage:
    """A message of a stream."""

    stream: str
    """Name of the stream."""
    sequence: int
    """Sequence of the message in the stream."""
    subject: str
    """Subject that it was published on."""
    data: bytes
    """Payload, without headers."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers by name."""
    time: datetime = field(default_factory=lambda: _rules.time(None))
    """Time at which it was stored, by the server's clock."""

    def _repr_html_(self) -> str:
        from ._html import stored_message

        return stored_message(self)


@dataclass(frozen=True)
class StreamInfo:
    """A stream's configuration and state."""

    name: str
    """Name of the stream."""
    subjects: list[str]
    """Subjects that the stream stores."""
    messages: int
    """Number of stored messages."""
    bytes: int
    """Size of the stored messages in bytes."""
    first: int
    """Sequence of the first message."""
    last: int
    """Sequence of the last message."""
    consumers: int
    """Number of consumers."""
    config: dict[str, Any]
    """Full configuration, as the server reports it."""
    state: dict[str, Any]
    """Full state, as the server reports it."""


@dataclass(frozen=True)
class ConsumerInfo:
    """A consumer's configuration and state."""

    stream: str
    """Name of the stream."""
    name: str
    """Name of the consumer."""
    pending: int
    """Number of messages that are not delivered yet."""
    ack_pending: int
    """Number of messages that are delivered but not acknowledged yet."""
    redelivered: int
    """Number of unacknowledged messages that were delivered more than once."""
    config: dict[str, Any]
    """Full configuration, as the server reports it."""
    state: dict[str, Any]
    """Full state, as the server reports it."""

    def _repr_html_(self) -> str:
        from ._html import consumer

        return consumer(self)


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def stream_info(told: Mapping[str, Any]) -> StreamInfo:
    """Build a `StreamInfo` from the server's response."""
    config, state = _table(told.get("config")), _table(told.get("state"))
    subjects = config.get("subjects")
    return StreamInfo(
        name=str(config.get("name", "")),
        subjects=[str(subject) for subject in subjects] if isinstance(subjects, list) else [],
        messages=number(state.get("messages")),
        bytes=number(state.get("bytes")),
        first=number(state.get("first_seq")),
        last=number(state.get("last_seq")),
        consumers=number(state.get("consumer_count")),
        config=config,
        state=state,
    )


def consumer_info(told: Mapping[str, Any]) -> ConsumerInfo:
    """Build a `ConsumerInfo` from the server's response."""
    return ConsumerInfo(
        stream=str(told.get("stream_name", "")),
        name=str(told.get("name", "")),
        pending=number(told.get("num_pending")),
        ack_pending=number(told.get("num_ack_pending")),
        redelivered=number(told.get("num_redelivered")),
        config=_table(told.get("config")),
        state={name: value for name, value in told.items() if name != "config"},
    )


def options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Convert options to JetStream's configuration fields: seconds to nanoseconds, without options that are `None`."""
    return {
        name: _rules.nanoseconds(value, name) if name in _DURATIONS and value is not None else value
        for name, value in given.items()
        if value is not None
    }


# Lists


def pages(connection: Connection, call: str, key: str, body: Mapping[str, Any]) -> Ops[list[Any]]:
    """Read all pages of a list."""
    found: list[Any] = []
    while True:
        told = yield from connection.api(call, {**body, "offset": len(found)})
        page = told.get(key)
        page = page if isinstance(page, list) else []
        found += page
        if not page or len(found) >= number(told.get("total")):
            return found


def stream_names(connection: Connection, subject: str | None = None) -> Ops[list[str]]:
    """Return the names of all streams, or of the streams that store a subject."""
    body = {} if subject is None else {"subject": _rules.subject(subject, wildcards=True)}
    return [str(name) for name in (yield from pages(connection, "STREAM.NAMES", "streams", body))]


def consumer_names(connection: Connection, stream: str) -> Ops[list[str]]:
    """Return the names of a stream's consumers."""
    call = f"CONSUMER.NAMES.{_rules.stream(stream)}"
    return [str(name) for name in (yield from pages(connection, call, "consumers", {}))]


def consumers(connection: Connection, stream: str) -> Ops[list[ConsumerInfo]]:
    """Return the configuration and state of all consumers of a stream."""
    call = f"CONSUMER.LIST.{_rules.stream(stream)}"
    return [consumer_info(_table(told)) for told in (yield from pages(connection, call, "consumers", {}))]


# Streams


def create(connection: Connection, name: str, subjects: Iterable[str], given: Mapping[str, Any]) -> Ops[None]:
    """Create a stream."""
    if isinstance(subjects, str):
        subjects = [subjects]
    config = {"storage": "file", **options(given), "name": _rules.stream(name)}
    taken = [_rules.subject(subject, wildcards=True) for subject in subjects]
    if taken:
        config["subjects"] = taken
    yield from connection.api(f"STREAM.CREATE.{name}", config)


def info(connection: Connection, name: str) -> Ops[StreamInfo]:
    """Return the configuration and state of a stream; raise an error if it does not exist."""
    try:
        return stream_info((yield from connection.api(f"STREAM.INFO.{_rules.stream(name)}")))
    except StreamNotFoundError as error:
        raise StreamNotFoundError(f"there is no stream {name}", error.code, error.err_code) from None


def consumer(connection: Connection, stream: str, name: str) -> Ops[ConsumerInfo]:
    """Return the configuration and state of a consumer; raise an error if it does not exist."""
    call = f"CONSUMER.INFO.{_rules.stream(stream)}.{_rules.stream(name, 'consumer')}"
    try:
        return consumer_info((yield from connection.api(call)))
    except ConsumerNotFoundError as error:
        raise ConsumerNotFoundError(f"stream {stream} has no consumer {name}", error.code, error.err_code) from None


def create_consumer(
    connection: Connection, stream: str, name: str | None, given: Mapping[str, Any]
) -> Ops[ConsumerInfo]:
    """Create a consumer: a durable one if it has a name, else an ephemeral one."""
    config = {"ack_policy": "explicit", **options(given)}
    call = f"CONSUMER.CREATE.{_rules.stream(stream)}"
    if name is not None:
        config["name"] = _rules.stream(name, "consumer")
        config.setdefault("durable_name", name)
        call += f".{name}"
    body = {"stream_name": stream, "config": config, "action": "create"}
    return consumer_info((yield from connection.api(call, body)))


class Rules:
    """Operations on a stream."""

    def __init__(self, access: Access, name: str) -> None:
        self.access = access
        self.name = _rules.stream(name)

    def update(self, connection: Connection, given: Mapping[str, Any]) -> Ops[StreamInfo]:
        """Change the given fields of the configuration; the others stay as they are."""
        changes = options(given)
        there = yield from info(connection, self.name)
        told = yield from connection.api(f"STREAM.UPDATE.{self.name}", {**there.config, **changes})
        return stream_info(told)

    def drop(self, connection: Connection) -> Ops[None]:
        """Delete the stream."""
        try:
            yield from connection.api(f"STREAM.DELETE.{self.name}")
        except StreamNotFoundError as error:
            raise StreamNotFoundError(f"there is no stream {self.name}", error.code, error.err_code) from None

    def purge(self, connection: Connection, subject: str | None, keep: int | None, before: int | None) -> Ops[int]:
        """Remove messages; return the number of removed messages."""
        body: dict[str, Any] = {}
        if subject is not None:
            body["filter"] = _rules.subject(subject, wildcards=True)
        if keep is not None:
            body["keep"] = _rules.size(keep, "keep", 0)
        if before is not None:
            body["seq"] = _rules.revision(before)
        return number((yield from connection.api(f"STREAM.PURGE.{self.name}", body)).get("purged"))

    def remove(self, connection: Connection, sequence: int) -> Ops[None]:
        """Remove one message."""
        yield from connection.api(
            f"STREAM.MSG.DELETE.{self.name}", {"seq": _rules.revision(sequence), "no_erase": True}
        )

    # Messages

    def publish(self, connection: Connection, subject: str, data: object, headers: Mapping[str, str]) -> Ops[int]:
        """Publish a message, wait for the acknowledgement, and return its sequence."""
        inbox = connection.ask(_rules.subject(subject), _rules.value(data, "a message"), headers)
        return (yield from self._acknowledged(connection, subject, inbox))

    def _acknowledged(self, connection: Connection, subject: str, inbox: Inbox) -> Ops[int]:
        try:
            told = stored((yield from connection.answer(inbox, subject)), subject)
        finally:
            inbox.close()
        if told.get("stream") != self.name:
            raise JetStreamError(f"{subject} went to stream {told.get('stream')}, not to {self.name}")
        return number(told.get("seq"))

    def seed(
        self, connection: Connection, messages: Iterable[tuple[str, bytes]], under_way: deque[tuple[str, Inbox]]
    ) -> Ops[int]:
        """Publish messages, several in flight; return the last sequence."""
        last = 0
        try:
            for subject, data in messages:
                under_way.append((subject, connection.ask(_rules.subject(subject), _rules.value(data, "a message"))))
                if len(under_way) >= _UNDER_WAY:
                    last = yield from self._acknowledged(connection, *under_way.popleft())
            while under_way:
                last = yield from self._acknowledged(connection, *under_way.popleft())
        finally:
            for _, inbox in under_way:
                inbox.close()
        return last

    def get(self, connection: Connection, sequence: int | None, subject: str | None) -> Ops[StoredMessage]:
        """Return the message with a sequence, or without one the last message on a subject."""
        reader = self.reader(subject, sequence or 1, policy="last" if sequence is None else "all")
        try:
            yield from reader.begin(connection)
            found = yield from reader.next_stored()
        finally:
            reader.close()
        if found is None or (sequence is not None and found.sequence != sequence):
            what = f"on {subject}" if sequence is None else f"at {sequence}"
            raise MessageNotFoundError(f"stream {self.name} has no message {what}", 404, 10037)
        return self.delivered(found)

    def reader(self, subject: str | None, start: int, *, policy: str = "all") -> Reader:
        """Return a reader of the messages, in order."""
        filters = [] if subject is None or subject == ">" else [_rules.subject(subject, wildcards=True)]
        first = _rules.revision(start) if policy == "all" and start > 1 else None
        return Reader(self.access, Wanted(self.name, filters, policy, first))

    def delivered(self, found: Delivered) -> StoredMessage:
        """Convert a message from a reader to a `StoredMessage`."""
        sent = found.message
        return StoredMessage(self.name, found.sequence, sent.subject, sent.data, sent.headers, found.time)

    def wait_for(
        self, connection: Connection, count: int, subject: str | None, start: int, seconds: float
    ) -> Ops[list[StoredMessage]]:
        """Wait until the stream holds at least `count` matching messages, and return all of them."""
        deadline = time.monotonic() + seconds
        reader = self.reader(subject, start)
        found: list[StoredMessage] = []
        try:
            yield from reader.begin(connection)
            while len(found) < count or reader.pending:
                # Messages that are pending already are read even after the deadline.
                left = None if reader.pending else max(deadline - time.monotonic(), 0.0)
                delivered = yield from reader.next(left)
                if delivered is None:
                    break
                reader.pending = delivered.pending
                found.append(self.delivered(delivered))
        finally:
            reader.close()
        if len(found) < count:
            subjects = ", ".join(dict.fromkeys(one.subject for one in found)) or "nothing"
            on = "" if subject is None else f" on {subject!r}"
            raise NoAnswerError(
                f"{len(found)} of {count} messages{on} in stream {self.name} within {seconds:g} s; there is: {subjects}"
            )
        return found
