"""Reads the stored and new messages of a stream in order, also after gaps, restarts and the loss of a consumer."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _rules
from ._link import Call, Take
from .errors import ConsumerNotFoundError, JetStreamError, NoAnswerError, NotRunningError, ServerError

if TYPE_CHECKING:
    from datetime import datetime

    from ._link import Access, Connection, Message, Ops
    from ._stonechat import Inbox

_HEARTBEAT = 2.0
"""Seconds without messages after which the server sends a heartbeat."""
_SILENCE = 2.5 * _HEARTBEAT
"""Seconds of silence after which the consumer counts as lost."""
_WAITING = 1 << 30
"""Inbox limit in messages. It is not meant to be reached: flow control limits the pending messages."""


@dataclass(frozen=True)
class Delivered:
    """A message with its place in the stream."""

    message: Message
    sequence: int
    time: datetime
    pending: int
    """Number of stored messages that follow."""


@dataclass
class Wanted:
    """The part of a stream to read."""

    stream: str
    filters: list[str] = field(default_factory=list)
    policy: str = "all"
    """JetStream's `deliver_policy`."""
    start: int | None = None
    """First sequence; if set, it replaces the policy by `by_start_sequence`."""
    headers_only: bool = False


class Reader:
    """Reads messages in order, each once, until it is closed or the stream is deleted."""

    def __init__(self, access: Access, wanted: Wanted) -> None:
        self._access = access
        self._wanted = wanted
        self._connection: Connection | None = None
        self._inbox: Inbox | None = None
        self._consumer = ""
        self._last = 0
        """Sequence of the last delivered message."""
        self._counted = 0
        """Number of messages delivered by the current consumer."""
        self.pending = 0
        """Number of messages left of those that were stored when the consumer was created."""
        self._is_idle = False
        """Whether the last message was a heartbeat: the server has nothing to deliver."""
        self.begun = False
        self.closed = False

    def begin(self, connection: Connection) -> Ops[None]:
        """Create the consumer, which starts after the last delivered message."""
        wanted = self._wanted
        config: dict[str, Any] = {
            "deliver_subject": connection.link.inbox(),
            "deliver_policy": wanted.policy,
            "ack_policy": "none",
            "max_deliver": 1,
            "flow_control": True,
            "idle_heartbeat": int(_HEARTBEAT * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
            "headers_only": wanted.headers_only,
        }
        if len(wanted.filters) == 1:
            config["filter_subject"] = wanted.filters[0]
        elif wanted.filters:
            config["filter_subjects"] = wanted.filters
        if self._last:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": self._last + 1}
        elif wanted.start is not None:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": wanted.start}
        inbox = connection.link.subscribe(config["deliver_subject"], _WAITING)
        try:
            body = {"stream_name": wanted.stream, "config": config}
            made = yield from connection.api(f"CONSUMER.CREATE.{wanted.stream}", body)
        except BaseException:
            inbox.close()
            raise
        self._connection, self._inbox, self._counted = connection, inbox, 0
        self._consumer = str(made.get("name", ""))
        self.begun = True
        self.pending = int(made.get("num_pending", 0))
        if wanted.policy == "new" and not self._last:
            # A later consumer must start after the messages that are stored now, not after those stored at that time.
            self._last = int(made.get("delivered", {}).get("stream_seq", 0))
        if self.closed:
            self.close()

    def next(self, seconds: float | None = None, *, until_idle: bool = False) -> Ops[Delivered | None]:
        """Return the next message, or `None` after the timeout or the close of the reader.

        With `until_idle`, also return `None` when the server reports that it has nothing to deliver.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        silent_since = time.monotonic()
        while not self.closed:
            inbox, connection = self._inbox, self._connection
            if inbox is None or connection is None:
                if deadline is not None and time.monotonic() >= deadline:
                    return None
                yield from self._begin_again()
                silent_since = time.monotonic()
                continue
            now = time.monotonic()
            left = _SILENCE - (now - silent_since)
            if deadline is not None:
                left = min(left, deadline - now)
            try:
                message: Message | None = yield Take(connection, inbox, max(left, 0.0))
            except NotRunningError:
                self._drop()
                continue
            if message is not None:
                silent_since = time.monotonic()
                delivered = self._read(message, connection)
                if delivered is not None or (until_idle and self._is_idle):
                    return delivered
            elif time.monotonic() - silent_since >= _SILENCE:
                self._drop()
            if message is None and deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def next_stored(self) -> Ops[Delivered | None]:
        """Return the next of the messages that were stored at the start, or `None` after the last one."""
        while self.pending and not self.closed:
            delivered = yield from self.next(until_idle=True)
            if delivered is not None:
                self.pending = delivered.pending
                return delivered
            if self._is_idle:
                # The pending messages may have been removed. Ask the server for the number of pending ones.
                yield from self._count_again()
                # Messages that were sent before the response are in the inbox already.
                last = None if self.pending else (yield from self.next(0))
                if last is not None:
                    self.pending = last.pending
                    return last
        return None

    def _count_again(self) -> Ops[None]:
        connection, consumer = self._connection, self._consumer
        if connection is None or not consumer:
            return
        try:
            told = yield from connection.api(f"CONSUMER.INFO.{self._wanted.stream}.{consumer}")
        except (NotRunningError, NoAnswerError, ConsumerNotFoundError):
            # A new consumer will be created, which sets `pending` too.
            self._drop()
        else:
            self.pending = int(told.get("num_pending", 0))

    def _begin_again(self) -> Ops[None]:
        connection = yield Call(self._access.revived)
        if self.closed:
            return
        try:
            yield from self.begin(connection)
        except (NotRunningError, NoAnswerError):
            # The server has ended again or is too busy to answer: the next iteration of `next` tries again.
            self._drop()
        except JetStreamError as error:
            if error.code != 503:
                raise
            # JetStream is not ready yet, or is shut down.
            yield Call(lambda: time.sleep(0.05))

    def _read(self, message: Message, connection: Connection) -> Delivered | None:
        """Return a stored message; handle flow control, heartbeats and errors, and return `None` for them."""
        self._is_idle = False
        if message.status:
            if stalled := message.headers.get("Nats-Consumer-Stalled"):
                connection.publish(stalled, b"")
            if message.text == "FlowControl Request" and message.reply:
                connection.publish(message.reply, b"")
            elif message.status != 100 or self._is_behind(message.headers.get("Nats-Last-Consumer")):
                self._drop()
            else:
                self._is_idle = stalled is None
            return None
        place = _place(message.reply or "")
        if place is None:
            return None
        sequence, count, moment, pending = place
        if count != self._counted + 1:
            # A message is missing: create a new consumer that starts after the last delivered message.
            self._drop()
            return None
        self._counted, self._last = count, sequence
        return Delivered(message, sequence, _rules.time_of(moment), pending)

    def _is_behind(self, last: str | None) -> bool:
        return last is not None and last.isdecimal() and int(last) > self._counted

    def _drop(self) -> None:
        """Abandon the consumer and request its deletion, without waiting."""
        inbox, connection = self._inbox, self._connection
        consumer, self._consumer, self._inbox = self._consumer, "", None
        if inbox is not None:
            inbox.close()
        if connection is not None and consumer:
            # If the connection has ended, the server removes the consumer by itself.
            with contextlib.suppress(ServerError):
                connection.tell(f"CONSUMER.DELETE.{self._wanted.stream}.{consumer}", b"")

    def close(self) -> None:
        """Close the reader. A waiting `next` returns at once; this method does not wait."""
        self.closed = True
        self._drop()


def _place(reply: str) -> tuple[int, int, int, int] | None:
    """Parse an acknowledgement subject: stream sequence, consumer sequence, time in nanoseconds and pending count."""
    words = reply.split(".")
    # The long form also has a domain and an account hash before the stream.
    found = words[5:9] if len(words) == 9 else words[7:11] if len(words) > 10 else []
    if len(found) != 4 or not all(word.isdecimal() for word in found):
        return None
    sequence, count, moment, pending = map(int, found)
    return sequence, count, moment, pending
