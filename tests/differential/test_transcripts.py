"""Every transcript, played to both servers at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from .compare import broken, difference
from .player import play
from .pool import Pool, both
from .transcript import Transcript, load

FOLDER = Path(__file__).with_name("transcripts")
TRANSCRIPTS = [transcript for path in sorted(FOLDER.glob("*.txt")) for transcript in load(path)]


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript.name)
def test_transcript(transcript: Transcript, pool: Pool) -> None:
    """Our server answers every byte as nats-server does, and closes when nats-server closes."""
    with pool.lend("\n".join(transcript.config), transcript.own_server) as pair:
        oracle, ours = both(lambda server: play(transcript, server.process.port), pair.oracle, pair.ours)
        log = pair.ours.process.log()
    wrong = broken(transcript, oracle)
    assert wrong is None, f"the transcript is wrong about nats-server: {wrong}"
    found = difference(transcript, oracle, ours)
    assert found is None, f"{found}\n{_log_end(log)}"


def _log_end(log: str) -> str:
    return "\n".join(["log of stonechat-server:", *log.splitlines()[-8:]])
