"""JetStream of a server in the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext

from stonechat import Server, ServerError


async def _publish(server: Server, count: int) -> int:
    client = await nats.connect(server.url)
    try:
        js = client.jetstream()
        await js.add_stream(name="ORDERS", subjects=["orders.>"])
        for i in range(count):
            await js.publish(f"orders.{i}", b"x" * 100)
        return (await js.stream_info("ORDERS")).state.messages
    finally:
        await client.close()


def test_without_a_directory_nothing_is_left() -> None:
    with Server(jetstream=True) as server:
        directory = Path(server.varz()["jetstream"]["config"]["store_dir"])
        assert directory.is_dir()
        assert asyncio.run(_publish(server, 10)) == 10
    assert not directory.exists()
    assert not directory.parent.exists()


@pytest.mark.asyncio
async def test_with_a_directory_all_is_kept(tmp_path: Path) -> None:
    for round_ in (1, 2, 3):
        with Server(jetstream=True, store_dir=tmp_path) as server:
            assert await _publish(server, 20) == 20 * round_


def test_a_directory_has_one_server(tmp_path: Path) -> None:
    with Server(jetstream=True, store_dir=tmp_path), pytest.raises(ServerError, match="another server uses"):
        Server(jetstream=True, store_dir=tmp_path).start()


def test_a_directory_of_another_server_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "jetstream" / "$G" / "streams"
    theirs.mkdir(parents=True)
    with pytest.raises(ServerError, match="nats stream backup"):
        Server(jetstream=True, store_dir=tmp_path).start()
    assert [entry.name for entry in (tmp_path / "jetstream").iterdir()] == ["$G"]


@pytest.mark.asyncio
async def test_the_fixture(nats_js: JetStreamContext) -> None:
    await nats_js.add_stream(name="S", subjects=["s"])
    assert (await nats_js.publish("s", b"hello")).seq == 1
    assert (await nats_js.get_last_msg("S", "s")).data == b"hello"
