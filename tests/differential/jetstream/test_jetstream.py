"""Requests to streams and consumers get the same answers from both servers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.servers import Programs, Two, running

from .consumer_scripts import CONSUMER_SCRIPTS
from .player import play
from .scripts import SCRIPTS

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = 'jetstream { store_dir: "js" }'


@pytest.fixture(scope="module")
def servers(programs: Programs) -> Iterator[Two]:
    """Both servers with JetStream; each script deletes its streams."""
    with running(programs, CONFIG) as two:
        yield two


ALL = {**SCRIPTS, **CONSUMER_SCRIPTS}


@pytest.mark.parametrize("name", ALL)
def test_answers_agree(servers: Two, name: str) -> None:
    steps = ALL[name]
    urls = [f"nats://127.0.0.1:{server.port}" for server in servers]
    with ThreadPoolExecutor(2) as threads:
        theirs, ours = threads.map(lambda url: play(url, steps), urls)
    ours[-1] = without_what_was_lost(theirs[-1], ours[-1])
    told = [
        f"{step}\n    {difference}"
        for step, expected, got in zip([*steps, "what was heard"], theirs, ours, strict=True)
        for difference in differences(expected, got)
    ]
    assert not told, "\n".join(told)


def without_what_was_lost(theirs: list[Any], ours: list[Any]) -> list[Any]:
    """Returns the messages from ours without the advisories of deletions that the real server failed to send.

    The real server queues them in the stream that is deleted, and the stream may end before its queue is sent.
    """
    left = list(theirs)
    kept = []
    for one in ours:
        if one in left:
            left.remove(one)
        elif re.match(r"\$JS\.EVENT\.ADVISORY\.(STREAM|CONSUMER)\.DELETED\.", str(one[0])):
            continue
        kept.append(one)
    return kept


def differences(expected: Any, got: Any, path: str = "") -> Iterator[str]:
    """Yields the differences of two answers."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in sorted({*expected, *got}):
            yield from differences(expected.get(key, "absent"), got.get(key, "absent"), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(got, list) and len(expected) == len(got):
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif expected != got:
        yield f"{path}: the real server says {expected!r}, ours {got!r}"
