"""What lies on disk: encrypted with a key, compressed, and no more than is needed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.process import ServerFailedErrorError
from tests.support.waiting import wait_for

from .store import ask, connected, started

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.client import Client

SECRETS = (b"ORDERS", b"customer.secret", b"the payload of", b"worker-name")
"""Of what a stream is told, and must not be told to others."""


def _stored(store: Path) -> bytes:
    """All that lies there now; a file may go while the others are read."""
    stored = []
    for path in sorted(store.rglob("*")):
        with suppress(FileNotFoundError, IsADirectoryError):
            stored.append(path.read_bytes())
    return b"".join(stored)


async def _publish(client: Client, count: int, text: bytes = b"the payload of %d ") -> None:
    for number in range(count):
        await client.publish("customer.secret", (text % number) * 30)
    await ask(client, "STREAM.INFO.ORDERS")


async def _create(client: Client, **config: Any) -> None:
    await ask(client, "STREAM.CREATE.ORDERS", {"name": "ORDERS", "subjects": ["customer.>"], **config})
    consumer = {"stream_name": "ORDERS", "config": {"name": "worker-name", "durable_name": "worker-name"}}
    await ask(client, "CONSUMER.CREATE.ORDERS.worker-name", consumer)


async def _session(program: Path, store: Path, options: str, fill: int = 0) -> int:
    """Starts a server with these options, publishes, and answers how many messages there are."""
    server = started(program, store, options)
    try:
        async with connected(server) as client:
            if fill and (await ask(client, "STREAM.NAMES"))["total"] == 0:
                await _create(client)
            await _publish(client, fill)
            state = (await ask(client, "STREAM.INFO.ORDERS"))["state"]
            for sequence in range(state["first_seq"], state["last_seq"] + 1, 7):
                assert "error" not in await ask(client, "STREAM.MSG.GET.ORDERS", {"seq": sequence})
        server.stop()
    finally:
        server.close()
    return int(state["messages"])


@pytest.mark.parametrize("cipher", ["chacha", "aes"])
def test_an_encrypted_store_tells_nothing(stonechat_program: Path, tmp_path: Path, cipher: str) -> None:
    for options, is_clear in (("", True), (f'key: "open sesame", cipher: {cipher}', False)):
        store = tmp_path / f"store-{is_clear}"
        assert asyncio.run(_session(stonechat_program, store, options, 300)) == 300
        stored = _stored(store)
        assert [secret in stored for secret in SECRETS] == [is_clear] * len(SECRETS)
        assert b"open sesame" not in stored
        # And after a restart it is all there.
        assert asyncio.run(_session(stonechat_program, store, options, 10)) == 310


def test_keys_change_with_a_restart(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    count = asyncio.run(_session(stonechat_program, store, 'key: "first"', 200))
    for options in ("", 'key: "second"', 'key: "second", prev_key: "third"'):
        with pytest.raises(ServerFailedErrorError, match="encrypted"):
            started(stonechat_program, store, options)
    # The new key opens what the one before locked, and another cipher goes on with it.
    options = 'key: "second", prev_key: "first", cipher: aes'
    assert asyncio.run(_session(stonechat_program, store, options, 100)) == count + 100
    with pytest.raises(ServerFailedErrorError, match="another key"):
        started(stonechat_program, store, 'key: "first"')
    assert asyncio.run(_session(stonechat_program, store, 'key: "second", cipher: aes')) == count + 100
    # Without the file with its keys it is not taken for a store in the clear, nor begun anew.
    (store / "jetstream" / "KEYS").unlink()
    for options in ("", 'key: "second", cipher: aes'):
        with pytest.raises(ServerFailedErrorError, match="keys is missing"):
            started(stonechat_program, store, options)


def test_a_store_is_encrypted_later(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    segments = store / "jetstream" / "streams"

    async def encrypt() -> None:
        server = started(stonechat_program, store, 'key: "late"')
        try:
            async with connected(server) as client:
                state = (await ask(client, "STREAM.INFO.ORDERS"))["state"]
                assert state["messages"] == 300
                # Segments that were written in the clear are written anew; the old ones go with a checkpoint.
                wait_for(lambda: not any(secret in _stored(segments) for secret in SECRETS), "no clear text", 30)
        finally:
            server.close()

    asyncio.run(_session(stonechat_program, store, "", 300))
    assert b"the payload of" in _stored(segments)
    asyncio.run(encrypt())
    assert asyncio.run(_session(stonechat_program, store, 'key: "late"')) == 300


def test_compressed_streams_take_less_room_and_removed_messages_none(stonechat_program: Path, tmp_path: Path) -> None:
    async def fill(store: Path, **config: Any) -> int:
        """How many bytes of segments there are for 40 MB of messages."""
        server = started(stonechat_program, store, 'sync_interval: "10s"')
        try:
            async with connected(server) as client:
                await _create(client, **config)
                for begin in range(0, 40_000, 2000):
                    for number in range(begin, begin + 2000):
                        payload = (b"the payload of %d " % number) * 50
                        await client.publish(f"customer.{number % 1000}", payload)
                    await client.flush()
                state = (await ask(client, "STREAM.INFO.ORDERS"))["state"]
                kept = config.get("max_msgs_per_subject", 40)
                assert state["messages"] == kept * 1000
                first = await ask(client, "STREAM.MSG.GET.ORDERS", {"last_by_subj": "customer.7"})
                assert first["message"]["seq"] == 39_008
            server.stop()
        finally:
            server.close()
        return sum(path.stat().st_size for path in (store / "jetstream" / "streams").iterdir())

    plain = asyncio.run(fill(tmp_path / "plain"))
    compressed = asyncio.run(fill(tmp_path / "compressed", compression="s2"))
    assert compressed < plain / 2
    # A thousand values of a kilobyte are left, and they lie all over the segments.
    last_values = asyncio.run(fill(tmp_path / "last", max_msgs_per_subject=1))
    assert last_values < plain * 0.7
