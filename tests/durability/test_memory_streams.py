"""Streams and consumers in memory are lost when their server ends, in ours as in nats-server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.binaries import nats_server, stonechat_server

from .store import ask, connected, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nats.aio.client import Client


async def _make(client: Client) -> None:
    for stream, storage in (("M", "memory"), ("F", "file")):
        config: dict[str, Any] = {"name": stream, "subjects": [stream], "storage": storage}
        await ask(client, f"STREAM.CREATE.{stream}", config)
        for name in ("DISK", "MEMORY"):
            consumer = {"durable_name": name, "ack_policy": "explicit", "mem_storage": name == "MEMORY"}
            await ask(client, f"CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": consumer})
        await client.request(stream, b"x")


async def _found(client: Client) -> dict[str, Any]:
    names = {stream: await ask(client, f"CONSUMER.NAMES.{stream}") for stream in "MF"}
    info = await ask(client, "STREAM.INFO.F")
    return {
        "streams": (await ask(client, "STREAM.NAMES"))["streams"],
        "consumers": {stream: answer["consumers"] for stream, answer in names.items()},
        "messages": info["state"]["messages"],
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("program", [stonechat_server, nats_server])
async def test_what_was_in_memory_is_gone_after_a_restart(program: Callable[[], Path], tmp_path: Path) -> None:
    server = started(program(), tmp_path)
    try:
        for end in (server.stop, server.kill):
            async with connected(server) as client:
                await _make(client)
            end()
            server.restart()
            async with connected(server) as client:
                expected = {"streams": ["F"], "consumers": {"M": [], "F": ["DISK"]}}
                found = await _found(client)
                assert {key: found[key] for key in expected} == expected
                assert found["messages"] > 0
    finally:
        server.kill()
