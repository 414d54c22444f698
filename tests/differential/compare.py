"""Compares two recordings of a transcript, and a recording with the expected frames of the transcript."""

from __future__ import annotations

from collections import Counter

from .escapes import escape
from .player import End, Outcome, Recording
from .transcript import Transcript, Verb


def broken(transcript: Transcript, oracle: Recording) -> str | None:
    """Returns a report of the first answer of nats-server that differs from the transcript, or None if all agree."""
    for outcome in oracle.outcomes:
        demanded = End.CLOSED if outcome.step.verb is Verb.CLOSED else End.FOUND
        if outcome.end is not demanded:
            return f"{_where(transcript, outcome)}: {outcome.end.value} after {outcome.rendered}"
        if outcome.step.text and outcome.rendered != outcome.step.expected:
            return f"{_where(transcript, outcome)}: nats-server answers {outcome.rendered}, not {outcome.step.expected}"
    if oracle.rendered_unordered != sorted(transcript.expected_unordered):
        return f"nats-server delivers {oracle.rendered_unordered}, not {sorted(transcript.expected_unordered)}"
    return None


def difference(transcript: Transcript, expected: Recording, got: Recording) -> str | None:
    """Returns a readable report of the first difference between two recordings, or None if they are equal."""
    for index, wanted in enumerate(expected.outcomes):
        if index >= len(got.outcomes):
            return f"{_where(transcript, wanted)}: the conversation ended before this step"
        actual = got.outcomes[index]
        if (wanted.frames, wanted.end) != (actual.frames, actual.end):
            return "\n".join(
                [
                    f"{_where(transcript, wanted)}: answers differ",
                    *_shown("nats-server", wanted),
                    *_shown("stonechat-server", actual),
                ]
            )
    if len(got.outcomes) > len(expected.outcomes):
        return f"{_where(transcript, got.outcomes[len(expected.outcomes)])}: the conversation should have ended"
    missing, extra = Counter(expected.unordered), Counter(got.unordered)
    if missing != extra:
        return f"{transcript.name}: missing {dict(missing - extra)}, too many {dict(extra - missing)}"
    return None


def _where(transcript: Transcript, outcome: Outcome) -> str:
    step = outcome.step
    return f"{transcript.path.name}:{step.line} ({transcript.title}), step `{step.text or step.role + ' open'}`"


def _shown(name: str, outcome: Outcome) -> list[str]:
    return [f"  {name}: {outcome.end.value}", *(f"    {escape(frame)}" for frame in outcome.frames)]
