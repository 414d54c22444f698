"""Plays a transcript to one server and records the answers to each step."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field

from tests.support.wire import Wire

from . import normalise
from .escapes import escape
from .transcript import Step, Transcript, Verb

PATIENCE_S = 8.0
"""Seconds after which a step counts as unanswered."""

_TIMER_PING_AGE_S = 1.5
"""Age of a connection in seconds from which a PING may be one of the server's timer; the first is due after two."""


UNREAD_INFO = b"INFO (not looked at here)\r\n"
"""Stands for the INFO of a connection that a transcript opens implicitly. It is not compared, so that a wrong field
only fails the transcripts about INFO."""


class End(enum.Enum):
    """How a reading step ended."""

    FOUND = "got what it waited for"
    CLOSED = "connection closed"
    SILENT = "no answer"


@dataclass
class Outcome:
    """Result of one reading step: normalised frames, and how it ended."""

    step: Step
    frames: list[bytes]
    end: End

    @property
    def rendered(self) -> list[str]:
        """The frames in the notation of transcripts. Of INFO only the name is shown."""
        return [render(frame) for frame in self.frames]


@dataclass
class Recording:
    """All answers of a server to a transcript."""

    outcomes: list[Outcome] = field(default_factory=list)
    unordered: list[bytes] = field(default_factory=list)

    @property
    def rendered_unordered(self) -> list[str]:
        """The unordered frames, sorted."""
        return sorted(render(frame) for frame in self.unordered)


def render(frame: bytes) -> str:
    """Returns a frame in the notation of transcripts."""
    if frame.startswith(b"INFO "):
        return "INFO"
    if not frame.endswith(b"\r\n"):
        return "unfinished: " + escape(frame)
    return escape(frame.removesuffix(b"\r\n"))


def play(transcript: Transcript, port: int) -> Recording:
    """Plays the transcript to the server on this port. Stops early if a step gets no answer."""
    player = _Player(transcript, port)
    try:
        for step in transcript.steps:
            if not player.do(step):
                break
    finally:
        player.close()
    return player.recording


def _is_unread_info(step: Step, frame: bytes) -> bool:
    return step.verb is Verb.OPEN and not step.text and frame.startswith(b"INFO {")


class _Player:
    def __init__(self, transcript: Transcript, port: int) -> None:
        self.transcript = transcript
        self.port = port
        self.recording = Recording()
        self.wires: dict[str, Wire] = {}

    def do(self, step: Step) -> bool:
        """Executes one step; returns false if the transcript can't continue."""
        if step.verb is Verb.OPEN:
            self.wires[step.role] = Wire(self.port)
        wire = self.wires[step.role]
        if step.verb is Verb.SEND:
            wire.send(step.data)
        elif step.verb is Verb.DRIP:
            wire.drip(step.data)
        elif step.verb is Verb.EOF:
            wire.finish_sending()
        else:
            outcome = self._read(step, wire)
            self.recording.outcomes.append(outcome)
            return outcome.end is not End.SILENT
        return True

    def close(self) -> None:
        """Closes all connections."""
        for wire in self.wires.values():
            wire.close()

    def _read(self, step: Step, wire: Wire) -> Outcome:
        if step.verb is Verb.SYNC:
            wire.send(b"PING\r\n")
        try:
            frames = wire.read_until(step.ends_with, PATIENCE_S)
        except TimeoutError:
            return Outcome(step, self._normalised(step, wire, wire.pending()), End.SILENT)
        found = bool(frames) and step.ends_with(frames[-1])
        if found and step.verb is Verb.SYNC:
            frames = frames[:-1]
        return Outcome(step, self._normalised(step, wire, frames), End.FOUND if found else End.CLOSED)

    def _normalised(self, step: Step, wire: Wire, frames: list[bytes]) -> list[bytes]:
        kept: list[bytes] = []
        timer_may_ping = time.monotonic() - wire.opened_at > _TIMER_PING_AGE_S
        for frame in frames:
            if frame == b"PING\r\n" and timer_may_ping and not self.transcript.keep_pings:
                continue
            if self.transcript.shape_payloads:
                frame = normalise.message_shape(frame)
            free = self._unordered(step.role, frame)
            if free is not None:
                self.recording.unordered.append(free)
            else:
                kept.append(UNREAD_INFO if _is_unread_info(step, frame) else normalise.info(frame))
        return kept

    def _unordered(self, role: str, frame: bytes) -> bytes | None:
        """Returns an unordered message for comparison, with its receiver unless that is a random choice; else None."""
        words = frame.split(b" ", 3)
        if len(words) < 4 or words[0] not in (b"MSG", b"HMSG"):
            return None
        subscription = (role, words[2].decode())
        if subscription in self.transcript.any_of:
            return b" ".join([*words[:2], b"*", words[3]])
        if subscription in self.transcript.unordered:
            return b" ".join([*words[:2], f"{role}/{subscription[1]}".encode(), words[3]])
        return None
