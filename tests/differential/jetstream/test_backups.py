"""Backups from each server are restored on each server; the restored stream equals the original."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import nats
import pytest

from tests.differential.servers import Programs, Two, running

from .player import normalise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nats.aio.client import Client
    from nats.aio.msg import Msg

PATIENCE_S = 10.0
CONFIG = 'jetstream { store_dir: "js" }'


@pytest.fixture(scope="module")
def servers(programs: Programs) -> Iterator[Two]:
    """Both servers with JetStream; each test deletes its streams."""
    with running(programs, CONFIG) as two:
        yield two


async def _late(port: int) -> None:
    """Subscribes to its whole inbox, and to the deliver subject only after the answer, as the `nats` tool does."""
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    try:
        await _request(client, "STREAM.CREATE.LATE", {"name": "LATE", "subjects": ["late"]})
        await client.request("late", b"hello", timeout=PATIENCE_S)
        inbox = client.new_inbox()
        await client.subscribe(f"{inbox}.*")
        await _request(client, "STREAM.SNAPSHOT.LATE", {"deliver_subject": f"{inbox}.chunks"})
        chunks: asyncio.Queue[Msg] = asyncio.Queue()
        await client.subscribe(f"{inbox}.chunks", cb=chunks.put)
        assert (await asyncio.wait_for(chunks.get(), PATIENCE_S)).data, (
            "the first chunk came before anybody could have it"
        )
        assert not (await asyncio.wait_for(chunks.get(), PATIENCE_S)).data
        await _request(client, "STREAM.DELETE.LATE")
    finally:
        await client.close()


def test_a_backup_waits_for_who_asked_for_it(servers: Two) -> None:
    for server in servers:
        asyncio.run(_late(server.port))


Backup = tuple[dict[str, Any], dict[str, Any], bytes]


async def _request(client: Client, subject: str, body: Any = None) -> dict[str, Any]:
    payload = b"" if body is None else json.dumps(body).encode()
    answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{subject}", payload, timeout=PATIENCE_S)).data)
    assert "error" not in answer, answer
    return answer


async def back_up(client: Client, stream: str, **options: Any) -> Backup:
    """Backs up a stream as the `nats` tool does, and acknowledges every chunk."""
    inbox = client.new_inbox()
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await client.subscribe(inbox, cb=chunks.put)
    answer = await _request(client, f"STREAM.SNAPSHOT.{stream}", {"deliver_subject": inbox, **options})
    data = bytearray()
    while True:
        chunk = await asyncio.wait_for(chunks.get(), PATIENCE_S)
        if not chunk.data:
            status = (chunk.headers or {}).get("Status", "204")
            assert status == "204", chunk.headers
            break
        data += chunk.data
        if chunk.reply:
            tokens = chunk.reply.split(".")
            assert tokens[:4] == ["$JS", "SNAPSHOT", "ACK", stream]
            assert int(tokens[-2]) == len(chunk.data)
            await client.publish(chunk.reply, b"")
    await subscription.unsubscribe()
    return answer["config"], answer["state"], bytes(data)


async def restore(client: Client, name: str, backup: Backup, size: int = 10_000) -> dict[str, Any]:
    """Restores a stream under the given name; returns the answer to the last chunk."""
    config, state, data = backup
    config = {**config, "name": name}
    subject = (await _request(client, f"STREAM.RESTORE.{name}", {"config": config, "state": state}))["deliver_subject"]
    for at in range(0, len(data), size):
        answer = await client.request(subject, data[at : at + size], timeout=PATIENCE_S)
        if answer.data:
            return dict(json.loads(answer.data))
    return dict(json.loads((await client.request(subject, b"", timeout=PATIENCE_S)).data))


async def fill(client: Client) -> None:
    """Creates a stream with gaps, headers, large and small messages, and consumers at different positions."""
    js = client.jetstream()
    await js.add_stream(name="B", subjects=["b.>"], max_msgs=395, allow_direct=True, metadata={"a": "b"})
    for n in range(400):
        headers = {"N": str(n), "Nats-Msg-Id": f"id{n}"} if n % 3 else None
        await js.publish(f"b.{n % 7}", bytes([n % 256]) * (n * 13 % 3000), headers=headers)
    for sequence in (17, 18, 19, 100, 399, 400):
        await js.delete_msg("B", sequence)
    plain = await js.pull_subscribe("b.>", durable="plain")
    messages = await plain.fetch(20)
    for message in (*messages[:5], messages[7]):
        await message.ack_sync()
    filtered = await js.pull_subscribe("b.3", durable="filtered")
    for message in await filtered.fetch(3):
        await message.ack_sync()
    await js.pull_subscribe("b.>", durable="fresh")


async def describe(client: Client, stream: str) -> dict[str, Any]:
    """Returns configuration, state, messages and consumers of a stream."""
    info = await _request(client, f"STREAM.INFO.{stream}", {"deleted_details": True, "subjects_filter": ">"})
    messages = []
    for sequence in range(info["state"]["first_seq"], info["state"]["last_seq"] + 1):
        answer = await client.request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"seq": sequence}).encode())
        message = json.loads(answer.data).get("message")
        messages.append(message)
    consumers = {}
    for name in (await _request(client, f"CONSUMER.NAMES.{stream}"))["consumers"] or []:
        about = await _request(client, f"CONSUMER.INFO.{stream}.{name}")
        keys = ("delivered", "ack_floor", "num_ack_pending", "num_pending", "num_redelivered")
        consumers[name] = normalise({key: about[key] for key in keys})
        for position in (consumers[name]["delivered"], consumers[name]["ack_floor"]):
            position.pop("last_active", None)
    config = {key: value for key, value in info["config"].items() if key not in ("name", "metadata")}
    # A backup lacks the times of deleted messages.
    info["state"].pop("last_ts")
    return {"config": config, "state": info["state"], "messages": messages, "consumers": consumers}


async def _close(client: Client) -> None:
    """Deletes the stream and closes the client."""
    await client.request("$JS.API.STREAM.DELETE.B", b"", timeout=PATIENCE_S)
    await client.close()


@pytest.mark.parametrize("source", ["oracle", "ours"])
@pytest.mark.parametrize("target", ["oracle", "ours"])
@pytest.mark.parametrize("chunk", [0, 1024])
def test_a_backup_comes_back(servers: Two, source: str, target: str, chunk: int) -> None:
    async def run() -> None:
        urls = {name: f"nats://127.0.0.1:{getattr(servers, name).port}" for name in ("oracle", "ours")}
        here, there = await nats.connect(urls[source]), await nats.connect(urls[target])
        try:
            await fill(here)
            before = await describe(here, "B")
            backup = await back_up(here, "B", chunk_size=chunk, window_size=4 * chunk)
            await _request(here, "STREAM.DELETE.B")
            answer = await restore(there, "B", backup)
            assert "error" not in answer, answer
            assert answer["config"]["name"] == "B"
            assert answer["state"]["messages"] == before["state"]["messages"]
            after = await describe(there, "B")
            assert after == before
            # New messages continue after the restored sequences.
            ack = await there.jetstream().publish("b.new", b"x")
            assert ack.seq == before["state"]["last_seq"] + 1
        finally:
            await _close(here)
            await _close(there)

    asyncio.run(run())


def test_what_can_not_be_restored_leaves_nothing(servers: Two) -> None:
    async def run() -> None:
        client = await nats.connect(f"nats://127.0.0.1:{servers.ours.port}")
        try:
            await fill(client)
            backup = await back_up(client, "B")
            answer = await client.request("$JS.API.STREAM.RESTORE.B", json.dumps({"config": backup[0]}).encode())
            assert json.loads(answer.data)["error"]["err_code"] == 10130
            await _request(client, "STREAM.DELETE.B")
            config, state, data = backup
            flipped = bytearray(data)
            flipped[len(data) // 2] ^= 4
            for damaged in (data[: len(data) // 2], bytes(flipped), b"nonsense", data[10:]):
                outcome = await restore(client, "B", (config, state, damaged))
                assert outcome["error"]["err_code"] == 10062, outcome
                assert (await _request(client, "STREAM.NAMES"))["streams"] is None
            assert "error" not in await restore(client, "B", backup, 700)
        finally:
            await _close(client)

    asyncio.run(run())
