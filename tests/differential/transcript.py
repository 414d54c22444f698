"""Reads transcripts: the bytes to send on each connection, and the steps that wait for the server.

A file has several transcripts about one topic. Its lines are:

    # comment
    == title                  begins a transcript; lines before the first one apply to the whole file
    config: TEXT              a line of the server's configuration
    unordered: a/1 a/2        messages to these subscriptions of connection a may come in any order
    any: a/1 b/7              these share a random choice: the receiver of a message does not matter either
    shape: payloads           JSON payloads are compared by their shape
    pings: keep               a PING of the server's timer is part of the answer
    server: own               starts a server for this transcript only, because it changes the server's state
    a connect {"echo":false}  CONNECT with these options; without verbose and pedantic by default
    a> TEXT                   one control line (CR LF is added)      a>> TEXT   exactly these bytes
    a~> TEXT                  exactly these bytes, one per segment   a eof      closes the sending direction
    a open                    reads and compares INFO (without this step, the first use of a connection only reads it)
    a sync                    PING, and reads up to its PONG
    a until TEXT              reads up to a frame that begins with TEXT
    a closed                  reads until the server closes
    a< TEXT                   a frame that nats-server sends in the reading step above
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .escapes import unescape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNORDERED = "any"
"""The name that replaces the connection in front of unordered frames."""

QUIET_CONNECT = {"verbose": False, "pedantic": False, "headers": True}


class Verb(enum.Enum):
    """Action of a step on its connection."""

    SEND = "send"
    DRIP = "drip"
    EOF = "eof"
    OPEN = "open"
    SYNC = "sync"
    UNTIL = "until"
    CLOSED = "closed"

    @property
    def reads(self) -> bool:
        """Whether the step reads from the server, and so has an outcome to compare."""
        return self in (Verb.OPEN, Verb.SYNC, Verb.UNTIL, Verb.CLOSED)


@dataclass
class Step:
    """One step on one connection. `expected` has the answers of nats-server, as in the file."""

    role: str
    verb: Verb
    data: bytes = b""
    line: int = 0
    text: str = ""
    expected: list[str] = field(default_factory=list)

    def ends_with(self, frame: bytes) -> bool:
        """Whether the frame is the one that a reading step waits for."""
        if self.verb is Verb.SYNC:
            return frame == b"PONG\r\n"
        if self.verb is Verb.UNTIL:
            return frame.startswith(self.data)
        return self.verb is Verb.OPEN


@dataclass
class Transcript:
    """One conversation with a server."""

    path: Path
    title: str
    line: int
    config: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    any_of: set[tuple[str, str]] = field(default_factory=set)
    unordered: set[tuple[str, str]] = field(default_factory=set)
    shape_payloads: bool = False
    keep_pings: bool = False
    own_server: bool = False
    expected_unordered: list[str] = field(default_factory=list)
    last_line: int = 0
    """Number of the last line that is not an expected frame."""

    @property
    def name(self) -> str:
        """Name of the transcript in reports: file and title."""
        return f"{self.path.stem}: {self.title}"


class TranscriptError(ValueError):
    """A transcript file that can't be read or can't be deterministic."""


def load(path: Path) -> list[Transcript]:
    """Reads all transcripts of a file."""
    return list(_Reader(path).read())


class _Reader:
    _SEND = re.compile(r"(?P<role>[a-z]+)(?P<arrow>~>|>>|>|<) ?(?P<text>.*)")
    _DO = re.compile(r"(?P<role>[a-z]+) (?P<verb>connect|open|sync|until|closed|eof)\b ?(?P<text>.*)")
    _HEAD = re.compile(r"(?P<key>config|any|unordered|shape|pings|server): ?(?P<text>.*)")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0

    def read(self) -> Iterator[Transcript]:
        common: list[str] = []
        current: Transcript | None = None
        for number, text in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
            self.line = number
            if not text.strip() or text.startswith("#"):
                continue
            if text.startswith("== "):
                if current is not None:
                    yield self._checked(current)
                current = Transcript(self.path, text[3:].strip(), self.line, list(common), last_line=self.line)
            elif current is None:
                common.append(self._common_config(text))
            else:
                self._add(current, text)
        if current is not None:
            yield self._checked(current)

    def _common_config(self, text: str) -> str:
        match = self._HEAD.fullmatch(text)
        if match is None or match["key"] != "config":
            raise self._error("only config lines may stand before the first transcript")
        return match["text"]

    def _add(self, transcript: Transcript, text: str) -> None:
        if not text.partition(" ")[0].endswith("<"):
            transcript.last_line = self.line
        if head := self._HEAD.fullmatch(text):
            self._head(transcript, head["key"], head["text"])
        elif send := self._SEND.fullmatch(text):
            self._send(transcript, text, send["role"], send["arrow"], send["text"])
        elif do := self._DO.fullmatch(text):
            self._do(transcript, text, do["role"], do["verb"], do["text"])
        else:
            raise self._error(f"can't read {text!r}")

    def _head(self, transcript: Transcript, key: str, text: str) -> None:
        if key == "config":
            transcript.config.append(text)
        elif key == "any":
            transcript.any_of |= {self._subscription(word) for word in text.split()}
        elif key == "unordered":
            transcript.unordered |= {self._subscription(word) for word in text.split()}
        elif key == "shape":
            transcript.shape_payloads = True
        elif key == "pings":
            transcript.keep_pings = True
        else:
            transcript.own_server = True

    def _subscription(self, word: str) -> tuple[str, str]:
        role, slash, sid = word.partition("/")
        if not slash:
            raise self._error(f"{word!r} is not connection/sid")
        return role, sid

    def _send(self, transcript: Transcript, text: str, role: str, arrow: str, body: str) -> None:
        if arrow == "<":
            self._expect(transcript, role, body)
            return
        try:
            data = unescape(body)
        except ValueError as error:
            raise self._error(str(error)) from None
        if arrow == ">":
            data += b"\r\n"
        self._step(transcript, Step(role, Verb.DRIP if arrow == "~>" else Verb.SEND, data, self.line, text))

    def _expect(self, transcript: Transcript, role: str, body: str) -> None:
        if role == UNORDERED:
            transcript.expected_unordered.append(body)
            return
        step = transcript.steps[-1] if transcript.steps else None
        if step is None or not step.verb.reads or step.role != role:
            raise self._error("an expected frame must follow a reading step of the same connection")
        step.expected.append(body)

    def _do(self, transcript: Transcript, text: str, role: str, verb: str, body: str) -> None:
        if verb == "connect":
            options = {**QUIET_CONNECT, **json.loads(body or "{}")}
            line = b"CONNECT " + json.dumps(options).encode() + b"\r\n"
            self._step(transcript, Step(role, Verb.SEND, line, self.line, text))
        else:
            self._step(transcript, Step(role, Verb(verb), unescape(body), self.line, text))

    def _step(self, transcript: Transcript, step: Step) -> None:
        known = any(earlier.role == step.role for earlier in transcript.steps)
        if not known and step.verb is not Verb.OPEN:
            transcript.steps.append(Step(step.role, Verb.OPEN, line=step.line, text=""))
        transcript.steps.append(step)

    def _checked(self, transcript: Transcript) -> Transcript:
        last = {step.role: step for step in transcript.steps}
        if not last:
            raise self._error(f"{transcript.title}: no steps")
        for role, step in last.items():
            if not step.verb.reads:
                raise self._error(f"{transcript.title}: connection {role} ends without a reading step")
        return transcript

    def _error(self, what: str) -> TranscriptError:
        return TranscriptError(f"{self.path}:{self.line}: {what}")
