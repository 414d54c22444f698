"""Backups of kilobytes that unpack to megabytes: a restore must keep the limits of messages and of the account."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.waiting import PATIENCE_S

from .helpers import client

if TYPE_CHECKING:
    from nats.aio.client import Client

    from tests.support.process import ServerProcess

    from .conftest import StartServer

MIB = 1 << 20
SIZE = 900_000
"""Size of a message in bytes; all bytes are zero, so that a backup is small."""
COUNT = 20
RESTORE_FAILED = 10062
JETSTREAM = 'jetstream { store_dir: "js" }'


async def _request(client: Client, path: str, body: Any = None) -> dict[str, Any]:
    payload = b"" if body is None else json.dumps(body).encode()
    answer: dict[str, Any] = json.loads((await client.request(f"$JS.API.{path}", payload, timeout=PATIENCE_S)).data)
    return answer


async def _back_up(server: ServerProcess) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Creates a stream with `COUNT` messages; returns its configuration, state and backup."""
    async with client(server) as publisher:
        await _request(publisher, "STREAM.CREATE.S", {"name": "S", "subjects": ["s"]})
        for _ in range(COUNT):
            assert b"error" not in (await publisher.request("s", bytes(SIZE), timeout=PATIENCE_S)).data
        chunks = await publisher.subscribe("chunks")
        answer = await _request(publisher, "STREAM.SNAPSHOT.S", {"deliver_subject": "chunks"})
        data = bytearray()
        while chunk := await chunks.next_msg(timeout=PATIENCE_S):
            if not chunk.data:
                break
            data += chunk.data
            if chunk.reply:
                await publisher.publish(chunk.reply)
        return answer["config"], answer["state"], bytes(data)


async def _restore(target: Client, config: dict[str, Any], state: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Returns the error that ends the restore, or the first answer with a stream."""
    begun = await _request(target, "STREAM.RESTORE.S", {"config": config, "state": state})
    if "error" in begun:
        return begun
    for chunk in (*(data[at : at + 1000] for at in range(0, len(data), 1000)), b""):
        answer = await target.request(begun["deliver_subject"], chunk, timeout=PATIENCE_S)
        if answer.data:
            return dict(json.loads(answer.data))
    pytest.fail("the restore was never answered")


ACCOUNT = "accounts {{ A {{ jetstream {{ {} }}, users: [{{user: a, password: x}}] }} }}"


@pytest.mark.parametrize(
    ("limits", "of_stream"),
    [
        pytest.param("", {"max_msg_size": 100_000}, id="max_msg_size"),
        pytest.param("max_payload: 64K", {}, id="max_payload"),
        pytest.param(ACCOUNT.format("max_file: 4M"), {}, id="max_file"),
        pytest.param(ACCOUNT.format("max_mem: 4M"), {"storage": "memory"}, id="max_mem"),
    ],
)
def test_a_backup_that_unpacks_beyond_a_limit_is_refused(
    start_server: StartServer, limits: str, of_stream: dict[str, Any]
) -> None:
    async def run() -> None:
        config, state, data = await _back_up(start_server(JETSTREAM))
        assert len(data) < COUNT * SIZE / 100
        server = start_server(f"{JETSTREAM}\n{limits}")
        login: dict[str, Any] = {"user": "a", "password": "x"} if "accounts" in limits else {}
        async with client(server, **login) as target:
            answer = await _restore(target, {**config, **of_stream}, state, data)
            assert answer["error"]["err_code"] == RESTORE_FAILED, answer
            assert (await _request(target, "STREAM.NAMES"))["streams"] is None
            info = await _request(target, "INFO")
            assert (info["storage"], info["memory"], info["streams"]) == (0, 0, 0)
            # The server still works.
            await _request(target, "STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["other"]})
            assert "error" not in json.loads((await target.request("other", b"x", timeout=PATIENCE_S)).data)
        assert server.get_json("/jsz")["bytes"] < MIB

    asyncio.run(run())


def test_the_same_backup_is_restored_within_the_limits(start_server: StartServer) -> None:
    async def run() -> None:
        config, state, data = await _back_up(start_server(JETSTREAM))
        async with client(start_server(JETSTREAM)) as target:
            answer = await _restore(target, config, state, data)
            assert answer["state"]["messages"] == COUNT, answer

    asyncio.run(run())
