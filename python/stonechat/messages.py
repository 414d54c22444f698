"""The messages that went through a server, reconstructed from its protocol trace.

The trace has each protocol operation of each client. This gives the messages, their publishers and their receivers. A
message that another account imports under another subject is listed without its receivers in that account.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Peer", "RecordedMessage", "Recording", "matches"]

_LINE = re.compile(r'^(\S+) - cid:(\d+)(?: - "(.*?)")?(?: - ".*?")? - (<<-|->>|<->) (.*)$', re.DOTALL)
_ESCAPE = re.compile(r'\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[abfnrtv\\"])')
_PLAIN_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_SHOWN_BYTES = 60


class Peer(NamedTuple):
    """A connected client."""

    cid: int
    """Id of the connection."""
    name: str
    """Name that the client sent in its `CONNECT`; may be empty."""

    def __str__(self) -> str:
        return self.name or f"client {self.cid}"


@dataclass
class RecordedMessage:
    """A message that a client published, with its receivers."""

    time: float
    """Time at which the server read it, in seconds since 1970."""
    subject: str
    """Subject that it was published on."""
    publisher: Peer
    """Client that published it."""
    reply: str = ""
    """Reply subject; empty if there is none."""
    data: bytes = b""
    """Payload, without headers."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers; if a name occurs several times, the last value."""
    receivers: list[Peer] = field(default_factory=list)
    """Clients that the message was sent to, including later deliveries from a stream."""
    stored: tuple[str, int] | None = None
    """Stream and sequence, if a stream acknowledged the message to the publisher or delivered it."""
    refused: str = ""
    """Reason why the server refused the message; empty if it did not."""

    @property
    def is_heard(self) -> bool:
        """Whether a client received the message, a stream stored it, or it was addressed to the server (`$...`)."""
        return bool(self.receivers) or self.stored is not None or self.subject.startswith("$")


class Subscribed(NamedTuple):
    """The start or the end of a subscription."""

    time: float
    peer: Peer
    subject: str
    queue: str
    ended: bool = False


@dataclass
class _Subscription:
    subject: str
    queue: str
    order: int


@dataclass
class _Operation:
    """A PUB or MSG whose payload follows in another line of the trace."""

    size: int
    header_size: int
    message: RecordedMessage | None = None
    delivery: tuple[Peer, str, str, str] | None = None


class Recording:
    """The messages and subscriptions of a trace, in order."""

    def __init__(self, lines: Iterable[tuple[float, int, str]]) -> None:
        self.messages: list[RecordedMessage] = []
        self.subscriptions: list[Subscribed] = []
        self._open: dict[tuple[int, str], list[_Operation]] = {}
        self._subs: dict[tuple[int, str], _Subscription] = {}
        self._waiting: dict[tuple[str, int, bytes], list[tuple[int, RecordedMessage]]] = {}
        self._next: dict[tuple[tuple[str, int, bytes], tuple[object, ...]], int] = {}
        self._stored: dict[tuple[str, int], RecordedMessage] = {}
        self._asked: dict[str, RecordedMessage] = {}
        self._last: dict[int, RecordedMessage] = {}
        self._names: dict[int, str] = {}
        self._order = 0
        for time, _level, text in lines:
            self._line(time, text)

    def published(self, pattern: str, since: float = 0.0) -> Iterator[RecordedMessage]:
        """Iterate over the messages that match a pattern; internal ones only if the pattern names their first token."""
        for message in self.messages:
            if message.time >= since and matches(pattern, message.subject):
                first = message.subject.partition(".")[0]
                if not is_internal(message.subject) or pattern.partition(".")[0] == first:
                    yield message

    # Reading the trace

    def _line(self, time: float, text: str) -> None:
        found = _LINE.match(text)
        if found is None:
            return
        _, cid, described, arrow, rest = found.groups()
        if rest.startswith("[CONNECT "):
            self._names[int(cid)] = _name(rest)
        # The label "version:language:name" gives the name if the recording has lost the client's CONNECT.
        known = self._names.get(int(cid))
        peer = Peer(int(cid), ":".join((described or "").split(":")[2:]) if known is None else known)
        self._order += 1
        if rest.startswith("MSG_PAYLOAD: ["):
            self._payload(peer, arrow, _unquoted(rest[len("MSG_PAYLOAD: [") : -1]))
            return
        verb, _, args = rest.strip("[]").partition(" ")
        if arrow == "<<-" and verb in ("PUB", "HPUB"):
            self._publish(time, peer, verb, args)
        elif arrow == "->>" and verb in ("MSG", "HMSG"):
            self._deliver(peer, verb, args)
        elif arrow == "<<-" and verb == "SUB":
            self._subscribe(time, peer, args)
        elif verb == "DELSUB" and (sub := self._subs.pop((peer.cid, args.strip()), None)):
            self.subscriptions.append(Subscribed(time, peer, sub.subject, sub.queue, ended=True))
        elif arrow == "->>" and verb == "-ERR" and "Publish to" in args and peer.cid in self._last:
            self._last[peer.cid].refused = args.strip("'")

    def _subscribe(self, time: float, peer: Peer, args: str) -> None:
        words = args.split()
        if len(words) in (2, 3):
            subject, sid = words[0], words[-1]
            queue = words[1] if len(words) == 3 else ""
            self._subs[peer.cid, sid] = _Subscription(subject, queue, self._order)
            self.subscriptions.append(Subscribed(time, peer, subject, queue))

    def _publish(self, time: float, peer: Peer, verb: str, args: str) -> None:
        words = args.split()
        sizes = 2 if verb == "HPUB" else 1
        if not 1 + sizes <= len(words) <= 2 + sizes or not words[-1].isdigit():
            return
        reply = words[1] if len(words) == 2 + sizes else ""
        message = RecordedMessage(time, words[0], peer, reply)
        header_size = int(words[-2]) if sizes == 2 else 0
        self.messages.append(message)
        self._last[peer.cid] = message
        if reply:
            self._asked[reply] = message
        self._begin(peer, "<<-", _Operation(int(words[-1]), header_size, message=message))

    def _deliver(self, peer: Peer, verb: str, args: str) -> None:
        words = args.split()
        sizes = 2 if verb == "HMSG" else 1
        if not 2 + sizes <= len(words) <= 3 + sizes or not words[-1].isdigit():
            return
        reply = words[2] if len(words) == 3 + sizes else ""
        header_size = int(words[-2]) if sizes == 2 else 0
        delivery = (peer, words[0], words[1], reply)
        self._begin(peer, "->>", _Operation(int(words[-1]), header_size, delivery=delivery))

    def _begin(self, peer: Peer, arrow: str, operation: _Operation) -> None:
        if operation.size == 0:
            self._finish(operation, b"")
        else:
            self._open.setdefault((peer.cid, arrow), []).append(operation)

    def _payload(self, peer: Peer, arrow: str, payload: bytes) -> None:
        waiting = self._open.get((peer.cid, arrow), [])
        # Several threads may send to a client at the same time. The length identifies the operation of this payload.
        at = next((at for at, one in enumerate(waiting) if one.size == len(payload)), 0)
        if waiting:
            self._finish(waiting.pop(at), payload)

    def _finish(self, operation: _Operation, payload: bytes) -> None:
        if operation.message is not None:
            message = operation.message
            message.headers = _headers(payload[: operation.header_size])
            message.data = payload[operation.header_size :]
            key = (message.subject, operation.header_size, payload)
            self._waiting.setdefault(key, []).append((self._order, message))
        elif operation.delivery is not None:
            self._arrived(*operation.delivery, operation.header_size, payload)

    def _arrived(self, peer: Peer, subject: str, sid: str, reply: str, header_size: int, payload: bytes) -> None:
        asked = self._asked.get(subject)
        if asked is not None and _confirm(asked, payload[header_size:]):
            if asked.stored:
                self._stored.setdefault(asked.stored, asked)
            return
        if reply.startswith("$JS.ACK.") and (place := _place(reply)):
            self._from_stream(peer, place, (subject, header_size, payload))
            return
        sub = self._subs.get((peer.cid, sid))
        key = (subject, header_size, payload)
        by: tuple[object, ...] = (sub.subject, sub.queue) if sub and sub.queue else (peer.cid, sid)
        sent = self._waiting.get(key, [])
        # Match the delivery to a message that was published after the subscription. Each message is matched at most
        # once for a subscription, and once for a queue group.
        for at in range(self._next.get((key, by), 0), len(sent)):
            order, message = sent[at]
            if sub is None or sub.order < order:
                self._next[key, by] = at + 1
                message.receivers.append(peer)
                return

    def _from_stream(self, peer: Peer, place: tuple[str, int], key: tuple[str, int, bytes]) -> None:
        message = self._stored.get(place)
        if message is None:
            # No acknowledgement gave the sequence, so take the first message with equal content.
            sent = (message for _, message in self._waiting.get(key, ()) if message.stored is None)
            message = next(sent, None)
        if message is not None:
            message.stored = place
            self._stored[place] = message
            message.receivers.append(peer)


# The report


def timeline(recording: Recording, since: float, limit: int) -> list[str]:
    """Return report lines: subscriptions, messages with publisher and receivers, and subjects without receivers."""
    events: list[tuple[float, str]] = [
        (one.time, _said(one)) for one in recording.subscriptions if one.time >= since and not is_internal(one.subject)
    ]
    unheard: dict[str, int] = {}
    for message in recording.messages:
        if message.time < since or message.subject.startswith("$JS.ACK."):
            continue
        events.append((message.time, _told(message, recording)))
        if not message.is_heard and not message.refused:
            unheard[message.subject] = unheard.get(message.subject, 0) + 1
    events.sort(key=lambda event: event[0])
    left_out = len(events) - limit
    lines = [f"({left_out} earlier events left out)"] if left_out > 0 else []
    lines += [f"+{time - since:7.3f} s  {text}" for time, text in events[-limit:]]
    if unheard:
        told = ", ".join(f"{subject} ({count})" if count > 1 else subject for subject, count in unheard.items())
        lines.append(f"nobody heard: {told}")
    return lines


def _said(one: Subscribed) -> str:
    group = f" in the queue group {one.queue}" if one.queue else ""
    return f"{one.peer} {'no longer listens' if one.ended else 'listens'} to {one.subject}{group}"


def _told(message: RecordedMessage, recording: Recording) -> str:
    shown = repr(message.data[:_SHOWN_BYTES])[1:] if message.data else "no data"
    if len(message.data) > _SHOWN_BYTES:
        shown += f"... ({len(message.data)} bytes)"
    asked = recording._asked.get(message.subject)
    subject = f"(answer to {asked.subject})" if asked else message.subject
    ends = []
    if message.stored:
        ends.append(f"stream {message.stored[0]} as {message.stored[1]}")
    ends += [str(peer) for peer in message.receivers]
    if message.refused:
        ends = [f"refused: {message.refused}"]
    elif not ends:
        ends = ["the server" if message.subject.startswith("$") else "nobody"]
    return f"{message.publisher} -> {subject} {shown} -> {', '.join(ends)}"


# Parts


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject matches a pattern with wildcards."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, word in enumerate(wanted):
        if word == ">":
            return len(given) > at
        if at >= len(given) or word not in ("*", given[at]):
            return False
    return len(wanted) == len(given)


def is_internal(subject: str) -> bool:
    """Whether a subject belongs to the server, or is a reply subject."""
    return subject.startswith(("$", "_INBOX.", "_R_."))


def _name(connect: str) -> str:
    """Return the client name in a CONNECT line."""
    try:
        name = json.loads(connect[len("[CONNECT ") : -1]).get("name", "")
    except ValueError:
        return ""
    return name if isinstance(name, str) else ""


def _unquoted(text: str) -> bytes:
    """Decode a text that is quoted like Go's `%q`."""
    parts: list[bytes] = []
    end = 0
    text = text[1:-1]
    for escape in _ESCAPE.finditer(text):
        parts.append(text[end : escape.start()].encode())
        end = escape.end()
        code = escape[1]
        if code[0] == "x":
            parts.append(bytes([int(code[1:], 16)]))
        elif code[0] in "uU" and len(code) > 1:
            parts.append(chr(int(code[1:], 16)).encode())
        else:
            parts.append(bytes([_PLAIN_ESCAPES[code]]))
    parts.append(text[end:].encode())
    return b"".join(parts)


def _headers(block: bytes) -> dict[str, str]:
    lines = block.decode(errors="replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, mark, value in (line.partition(":") for line in lines) if mark}


def _confirm(asked: RecordedMessage, data: bytes) -> bool:
    """Apply the acknowledgement of a stream to its message; return `False` if it is another kind of response."""
    if asked.subject.startswith("$") or not data.startswith(b"{"):
        return False
    try:
        answer = json.loads(data)
    except ValueError:
        return False
    stream, error = answer.get("stream"), answer.get("error")
    if isinstance(stream, str) and isinstance(answer.get("seq"), int):
        if isinstance(error, dict):
            asked.refused = f"stream {stream}: {error.get('description')}"
        else:
            asked.stored = (stream, answer["seq"])
        return True
    return False


def _place(reply: str) -> tuple[str, int] | None:
    """Return stream and sequence from an acknowledgement subject."""
    words = reply.split(".")
    # The long form also has a domain and an account hash before the stream.
    stream, sequence = (
        (words[2], words[5]) if len(words) == 9 else (words[4], words[7]) if len(words) > 10 else ("", "")
    )
    return (stream, int(sequence)) if sequence.isdigit() else None
