"""Writes the answers of nats-server into transcript files: `python -m tests.differential.annotate FILE...`.

For authors of transcripts: write the steps, run this, then check that the answers are the expected ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.binaries import nats_server

from .player import End, play
from .pool import PooledServer
from .transcript import UNORDERED, Transcript, Verb, load


def annotate(path: Path, servers: dict[str, PooledServer]) -> None:
    """Replaces the expected frames of one file."""
    answers: dict[int, list[str]] = {}
    for transcript in load(path):
        answers.update(_answers(transcript, servers))
    lines: list[str] = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not text.partition(" ")[0].endswith("<"):
            lines += [text, *answers.get(number, [])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _answers(transcript: Transcript, servers: dict[str, PooledServer]) -> dict[int, list[str]]:
    config = "\n".join(transcript.config)
    if config not in servers:
        servers[config] = PooledServer.start(nats_server(), config)
    recording = play(transcript, servers[config].process.port)
    if transcript.own_server:
        servers.pop(config).process.close()
    else:
        servers[config].settle()
    answers: dict[int, list[str]] = {}
    for outcome in recording.outcomes:
        if outcome.end is not (End.CLOSED if outcome.step.verb is Verb.CLOSED else End.FOUND):
            print(f"{transcript.path.name}:{outcome.step.line}: {outcome.end.value} ({transcript.title})")
        if outcome.step.text:
            answers[outcome.step.line] = [f"{outcome.step.role}< {frame}" for frame in outcome.rendered]
    for frame in recording.rendered_unordered:
        answers.setdefault(transcript.last_line, []).append(f"{UNORDERED}< {frame}")
    return answers


def main() -> None:
    """Annotates the files named on the command line."""
    servers: dict[str, PooledServer] = {}
    try:
        for name in sys.argv[1:]:
            annotate(Path(name), servers)
    finally:
        for server in servers.values():
            server.process.close()


if __name__ == "__main__":
    main()
