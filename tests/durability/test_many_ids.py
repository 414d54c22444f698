"""More message ids and times to live than the memory budget allows: they are written to disk and work as in memory."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import eventually

from .store import ask, connected, started

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

MESSAGES = 40_000
SMALL = "max_index_memory: 1MB"
TTL_S = 3
RARE = 400
"""One of this many schedules is due soon."""
DUE_S = 10


@pytest.mark.parametrize("key", ["", ', key: "open sesame"'], ids=["plain", "encrypted"])
@pytest.mark.parametrize("storage", ["file", "memory"])
def test_ids_and_times_that_are_on_disk_are_known(
    stonechat_program: Path, tmp_path: Path, storage: str, key: str
) -> None:
    store = tmp_path / "store"
    asyncio.run(_play(stonechat_program, store, storage, SMALL + key))
    assert not _files(store), "they are learned anew"


def test_schedules_that_are_on_disk_are_kept(stonechat_program: Path, tmp_path: Path) -> None:
    asyncio.run(_schedule(stonechat_program, tmp_path / "store"))


async def _schedule(program: Path, store: Path) -> None:
    """A few of very many schedules are due soon; the server is killed before."""
    server = started(program, store, SMALL)
    try:
        async with connected(server) as client:
            config = {"name": "S", "subjects": ["s.*", "due.*"], "allow_msg_schedules": True}
            await ask(client, "STREAM.CREATE.S", config)
            soon = datetime.now(timezone.utc) + timedelta(seconds=DUE_S)
            for number in range(0, MESSAGES, 1000):
                await asyncio.gather(*(_plan(client, n, soon) for n in range(number, number + 1000)))
            await eventually(lambda: bool(list(store.rglob("*-schedules-*"))), "files of schedules")
        server.kill()
        server.close()
        server = started(program, store, SMALL)
        async with connected(server) as client:
            due = {f"due.{number}": 1 for number in range(0, MESSAGES, RARE)}
            for _ in range(600):
                state = (await ask(client, "STREAM.INFO.S", {"subjects_filter": "due.*"}))["state"]
                if state.get("subjects") == due:
                    break
                await asyncio.sleep(0.05)
            # Each scheduled message has replaced its schedule.
            assert (state.get("subjects"), state["messages"]) == (due, MESSAGES)
        server.stop()
    finally:
        server.close()


async def _plan(client: Client, number: int, soon: datetime) -> None:
    at = soon.isoformat() if number % RARE == 0 else "2199-12-31T23:59:59Z"
    headers = {"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": f"due.{number}"}
    answer = json.loads((await client.request(f"s.{number}", b"now", headers=headers, timeout=30)).data)
    assert "error" not in answer, answer


async def _play(program: Path, store: Path, storage: str, options: str) -> None:
    server = started(program, store, options)
    try:
        async with connected(server) as client:
            config = {"name": "S", "subjects": ["s.>"], "storage": storage, "allow_msg_ttl": True}
            await ask(client, "STREAM.CREATE.S", config)
            await _publish(client, range(MESSAGES))
            await eventually(lambda: len(_files(store)) == 2, "files of ids and of times")
            await _check_ids(client)
            if storage == "file":
                server.kill()
        if storage == "file":
            server.close()
            server = started(program, store, options)
        async with connected(server) as client:
            await _check_ids(client)
            # Half of the messages expire.
            await _wait_for(client, MESSAGES // 2)
            await ask(client, "STREAM.DELETE.S", {})
            await eventually(lambda: not _files(store), "no files")
        server.stop()
    finally:
        server.close()


def _files(store: Path) -> set[str]:
    """Returns the kinds of spill files in the store."""
    return {kind for kind in ("ids", "ttls") if list(store.rglob(f"*-{kind}-*"))}


async def _publish(client: Client, numbers: range) -> None:
    """Publishes messages; every second one has a short time to live."""
    inbox = client.new_inbox()
    waiting = asyncio.Semaphore(1000)
    answers = []

    async def note(message: Any) -> None:
        answers.append(json.loads(message.data))
        waiting.release()

    listening = await client.subscribe(inbox, cb=note)
    for number in numbers:
        await waiting.acquire()
        headers = {"Nats-Msg-Id": f"message-{number}", "Nats-TTL": f"{TTL_S if number % 2 else 3600}s"}
        await client.publish(f"s.{number % 10}", b"", reply=inbox, headers=headers)
    for _ in range(1000):
        await waiting.acquire()
    await listening.unsubscribe()
    assert [answer.get("seq") for answer in answers] == [number + 1 for number in numbers]
    assert not any(answer.get("duplicate") for answer in answers)


async def _check_ids(client: Client) -> None:
    """Checks that publishing the id of a stored message again is answered as a duplicate, and a new id is not."""
    for number in range(0, MESSAGES, 1998):
        headers = {"Nats-Msg-Id": f"message-{number}"}
        answer = json.loads((await client.request("s.1", b"", headers=headers, timeout=60)).data)
        assert (answer["seq"], answer.get("duplicate")) == (number + 1, True), answer
    before = (await ask(client, "STREAM.INFO.S", {}))["state"]["last_seq"]
    assert before == MESSAGES


async def _wait_for(client: Client, count: int) -> None:
    """Waits until `count` messages are left."""
    for _ in range(600):
        if (await ask(client, "STREAM.INFO.S", {}))["state"]["messages"] == count:
            return
        await asyncio.sleep(0.05)
    raise AssertionError((await ask(client, "STREAM.INFO.S", {}))["state"])
