"""Data on disk: encryption with a key, compression, and the removal of deleted data."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.process import ServerFailedErrorError
from tests.support.waiting import wait_for

from .store import ask, connected, started

if TYPE_CHECKING:
    from nats.aio.client import Client

SECRETS = (b"ORDERS", b"customer.secret", b"the payload of", b"worker-name")
"""Parts of names, subjects and payloads, which an encrypted store must not contain."""


KEYS = ("KEYS", "KEYS.copy")
"""The files with a store's keys."""


def _stored(store: Path) -> bytes:
    """Returns the contents of all files of the store; a file may be removed while the others are read."""
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
    """Starts a server with these options, publishes, and returns the number of messages."""
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
        # After a restart all messages are present.
        assert asyncio.run(_session(stonechat_program, store, options, 10)) == 310


def test_keys_change_with_a_restart(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    count = asyncio.run(_session(stonechat_program, store, 'key: "first"', 200))
    for options in ("", 'key: "second"', 'key: "second", prev_key: "third"'):
        with pytest.raises(ServerFailedErrorError, match="encrypted"):
            started(stonechat_program, store, options)
    # With `prev_key`, the new key opens a store of the old one. New data has another cipher.
    options = 'key: "second", prev_key: "first", cipher: aes'
    assert asyncio.run(_session(stonechat_program, store, options, 100)) == count + 100
    with pytest.raises(ServerFailedErrorError, match="another key"):
        started(stonechat_program, store, 'key: "first"')
    assert asyncio.run(_session(stonechat_program, store, 'key: "second", cipher: aes')) == count + 100
    # Without its key files the store is refused: it is neither opened as an unencrypted store nor created again.
    for name in KEYS:
        (store / "jetstream" / name).unlink()
    for options in ("", 'key: "second", cipher: aes'):
        with pytest.raises(ServerFailedErrorError, match="keys is missing"):
            started(stonechat_program, store, options)


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("damage", ["lost", "emptied", "first page", "second page"])
def test_no_bad_page_and_no_lost_file_costs_the_keys(
    stonechat_program: Path, tmp_path: Path, name: str, damage: str
) -> None:
    store, options = tmp_path / "store", 'key: "open sesame"'
    asyncio.run(_session(stonechat_program, store, options, 20))
    path = store / "jetstream" / name
    content = path.read_bytes()
    assert len(content) > 4096
    if damage == "lost":
        path.unlink()
    else:
        bad = {"emptied": b"", "first page": b"Z" * 4096 + content[4096:], "second page": content[:4096]}
        path.write_bytes(bad[damage])
    server = started(stonechat_program, store, options)
    try:
        assert "a copy of its keys was damaged or missing and was written anew" in server.log()
        server.stop()
    finally:
        server.close()
    assert (store / "jetstream" / KEYS[0]).read_bytes() == (store / "jetstream" / KEYS[1]).read_bytes()
    assert asyncio.run(_session(stonechat_program, store, options, 5)) == 25


def _publish_and_kill(program: Path, store: Path, options: str, letter: bytes) -> None:
    """Publishes a hundred messages of one repeated letter, and kills the server."""

    async def publish() -> None:
        server = started(program, store, options)
        try:
            async with connected(server) as client:
                if (await ask(client, "STREAM.NAMES"))["total"] == 0:
                    await _create(client)
                for _ in range(100):
                    await client.request("customer.secret", letter * 700, timeout=60)
            server.kill()
        finally:
            server.close()

    asyncio.run(publish())


@pytest.mark.parametrize("cipher", ["chacha", "aes"])
@pytest.mark.parametrize("sync", ["always", '"10s"'])
def test_copies_that_both_go_on_share_no_keystream(
    stonechat_program: Path, tmp_path: Path, cipher: str, sync: str
) -> None:
    """Two copies of a store that write to the same place must not encrypt with the same keystream."""
    options = f'key: "open sesame", cipher: {cipher}, sync_interval: {sync}'
    stores = [tmp_path / "store", tmp_path / "copy"]
    _publish_and_kill(stonechat_program, stores[0], options, b"a")
    shutil.copytree(stores[0], stores[1])
    for store, letter in zip(stores, (b"b", b"c"), strict=True):
        _publish_and_kill(stonechat_program, store, options, letter)
    relation = bytes([ord("b") ^ ord("c")]) * 64
    compared = 0
    for path in sorted((stores[0] / "jetstream").rglob("*")):
        other = stores[1] / path.relative_to(stores[0])
        if not path.is_file() or not other.is_file():
            continue
        pair = [file.read_bytes().rstrip(b"\0") for file in (path, other)]
        length = min(map(len, pair))
        one, two = (int.from_bytes(content[:length], "big") for content in pair)
        assert relation not in (one ^ two).to_bytes(length, "big"), f"{path.name} of both copies has the same keystream"
        compared += 1
    assert compared > 5
    for store in stores:
        assert asyncio.run(_session(stonechat_program, store, options)) == 200


def _fixture(to: Path) -> None:
    """Unpacks a store of format 1: two streams of 60 messages, the first 30 of them with another cipher."""
    with tarfile.open(Path(__file__).with_name("data") / "encrypted-format-1.tar.gz") as archive:
        contents = {member.name: archive.extractfile(member) for member in archive}
        lengths = json.load(contents.pop("lengths.json") or io.BytesIO())
        for name, content in contents.items():
            assert content is not None
            path = to / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
            # The archive omits the zeros at the end of files.
            with path.open("r+b") as file:
                file.truncate(lengths[name])


def test_a_store_of_format_1_is_read_and_goes_on(stonechat_program: Path, tmp_path: Path) -> None:
    options = 'key: "old", cipher: aes'
    jetstream = tmp_path / "jetstream"
    _fixture(jetstream)
    assert [path.name for path in jetstream.glob("STONECHAT*")] == ["STONECHAT"]

    async def check(count: int, added: int) -> None:
        server = started(stonechat_program, tmp_path, options)
        try:
            async with connected(server) as client:
                for name in ("PLAIN", "PACKED"):
                    assert (await ask(client, f"STREAM.INFO.{name}"))["state"]["messages"] == count
                    for sequence in range(1, count + 1):
                        got = await ask(client, f"STREAM.MSG.GET.{name}", {"seq": sequence})
                        text = base64.b64decode(got["message"]["data"])
                        assert text == b"old message %d " % (sequence - 1) * 5
                    for number in range(count, count + added):
                        await client.request(f"{name}.1", b"old message %d " % number * 5, timeout=60)
                assert "damaged" not in server.log()
            server.kill()
        finally:
            server.close()

    for count, added in ((60, 10), (70, 0)):
        asyncio.run(check(count, added))
    # The marker of format 2 makes older versions refuse the store.
    assert [path.name for path in jetstream.glob("STONECHAT*")] == ["STONECHAT-2"]
    assert all((jetstream / name).is_file() for name in KEYS)


def test_a_store_of_a_newer_version_is_refused(stonechat_program: Path, tmp_path: Path) -> None:
    (tmp_path / "jetstream").mkdir(mode=0o700)
    (tmp_path / "jetstream" / "STONECHAT-3").touch()
    with pytest.raises(ServerFailedErrorError, match=r"was written by a newer version of stonechat \(format 3\)"):
        started(stonechat_program, tmp_path)
    assert [path.name for path in (tmp_path / "jetstream").iterdir()] == ["STONECHAT-3"]


def test_a_store_is_encrypted_later(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    segments = store / "jetstream" / "streams"

    async def encrypt() -> None:
        server = started(stonechat_program, store, 'key: "late"')
        try:
            async with connected(server) as client:
                state = (await ask(client, "STREAM.INFO.ORDERS"))["state"]
                assert state["messages"] == 300
                # Unencrypted segments are rewritten; a checkpoint removes the old files.
                wait_for(lambda: not any(secret in _stored(segments) for secret in SECRETS), "no clear text", 30)
        finally:
            server.close()

    asyncio.run(_session(stonechat_program, store, "", 300))
    assert b"the payload of" in _stored(segments)
    asyncio.run(encrypt())
    assert asyncio.run(_session(stonechat_program, store, 'key: "late"')) == 300


def test_compressed_streams_take_less_room_and_removed_messages_none(stonechat_program: Path, tmp_path: Path) -> None:
    async def fill(store: Path, **config: Any) -> int:
        """Stores 40 MB of messages and returns the size of the segments in bytes."""
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
    # A thousand values of a kilobyte are left, spread over all segments.
    last_values = asyncio.run(fill(tmp_path / "last", max_msgs_per_subject=1))
    assert last_values < plain * 0.7
