"""More subjects than the memory budget allows: the subject index is written to disk and works as in memory."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import eventually

from .store import ask, connected, started

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

SUBJECTS = 30_000
SMALL = "max_index_memory: 1MB"


@pytest.mark.parametrize("key", ["", ', key: "open sesame"'], ids=["plain", "encrypted"])
def test_subjects_that_are_on_disk_are_known(stonechat_program: Path, tmp_path: Path, key: str) -> None:
    store = tmp_path / "store"
    asyncio.run(_play(stonechat_program, store, SMALL + key))
    assert not list(store.rglob("*index*")), "it is learned anew"


async def _play(program: Path, store: Path, options: str) -> None:
    chance = random.Random(1)
    known: dict[str, list[int]] = {}
    server = started(program, store, options)
    try:
        async with connected(server) as client:
            config = {"name": "S", "subjects": ["s.>"], "max_msgs_per_subject": 3, "allow_direct": True}
            await ask(client, "STREAM.CREATE.S", config)
            await _publish(client, known, [f"s.{n % 100}.subject-{n}" for n in range(SUBJECTS)])
            await eventually(lambda: list(store.rglob("*index*")), "a file of the index")
            # Publish on existing subjects again, some above their message limit, then purge some subjects.
            await _publish(client, known, chance.choices(list(known), k=SUBJECTS))
            for subject in chance.sample(list(known), 300):
                await ask(client, "STREAM.PURGE.S", {"filter": subject})
                del known[subject]
            await ask(client, "STREAM.PURGE.S", {"filter": "s.77.>"})
            known = {subject: numbers for subject, numbers in known.items() if not subject.startswith("s.77.")}
            await _check(client, known, chance)
            if "key" in options:
                assert not _tells(store, b"subject-")
            server.kill()
        server.close()
        server = started(program, store, options)
        async with connected(server) as client:
            await _check(client, known, chance)
            await _publish(client, known, chance.choices(list(known), k=2000))
            await _check(client, known, chance)
        server.stop()
    finally:
        server.close()


def _tells(store: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in store.rglob("*index*"))


async def _publish(client: Client, known: dict[str, list[int]], subjects: list[str]) -> None:
    """Publishes a message on each subject, and records the last sequences of each subject in `known`."""
    inbox = client.new_inbox()
    waiting = asyncio.Semaphore(1000)

    async def note(message: Any) -> None:
        sequence = json.loads(message.data)["seq"]
        numbers = known.setdefault(subjects[int(message.subject.rpartition(".")[2])], [])
        numbers.append(sequence)
        del numbers[:-3]
        waiting.release()

    listening = await client.subscribe(f"{inbox}.*", cb=note)
    for number, subject in enumerate(subjects):
        await asyncio.wait_for(waiting.acquire(), 60)
        await client.publish(subject, subject.encode(), reply=f"{inbox}.{number}")
    for _ in range(1000):
        await asyncio.wait_for(waiting.acquire(), 60)
    await listening.unsubscribe()


async def _check(client: Client, known: dict[str, list[int]], chance: random.Random) -> None:
    state = (await ask(client, "STREAM.INFO.S"))["state"]
    assert state["num_subjects"] == len(known)
    assert state["messages"] == sum(map(len, known.values()))
    # The counts of all subjects that match a filter.
    some = sorted(subject for subject in known if subject.startswith("s.5."))
    filtered = (await ask(client, "STREAM.INFO.S", {"subjects_filter": "s.5.*"}))["state"]["subjects"]
    assert filtered == {subject: len(known[subject]) for subject in some}
    # All subjects: so many that the server counts them in several steps.
    told = await ask(client, "STREAM.INFO.S", {"subjects_filter": ">", "offset": 5})
    assert told["total"] == len(known)
    assert told["state"]["subjects"] == {subject: len(known[subject]) for subject in sorted(known)[5:]}
    for subject in [*chance.sample(list(known), 200), "s.77.subject-77", "s.1.nobody"]:
        last = await ask(client, "STREAM.MSG.GET.S", {"last_by_subj": subject})
        if subject in known:
            assert last["message"]["seq"] == known[subject][-1], subject
            first = await ask(client, "STREAM.MSG.GET.S", {"seq": 1, "next_by_subj": subject})
            assert first["message"]["seq"] == known[subject][0], subject
        else:
            assert last["error"]["err_code"] == 10037, subject
    # The pending count of a consumer uses the index too.
    config = {"name": "c", "filter_subject": "s.*.subject-1234", "deliver_policy": "last_per_subject"}
    consumer = await ask(client, "CONSUMER.CREATE.S.c", {"stream_name": "S", "config": config})
    assert consumer["num_pending"] == ("s.34.subject-1234" in known)
    await ask(client, "CONSUMER.DELETE.S.c")
