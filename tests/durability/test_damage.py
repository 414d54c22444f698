"""One flipped bit in the store: every acknowledged message is served intact, or its loss is reported."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support.process import ServerFailedErrorError, ServerProcess

from .store import SEED, ask, connected, copy_of, publish_until, started, verify

FLIPS = int(os.environ.get("STONECHAT_FLIPS", "50"))
MESSAGES = int(os.environ.get("STONECHAT_FLIP_MESSAGES", "20000"))


@pytest.mark.parametrize("delay_s", [0.0, 0.05], ids=["at-once", "after-50-ms"])
def test_a_flipped_bit_is_never_silent(stonechat_program: Path, tmp_path: Path, delay_s: float) -> None:
    asyncio.run(_flip(stonechat_program, tmp_path / "store", delay_s, FLIPS // 2))


async def _fill(program: Path, store: Path, delay_s: float) -> dict[int, int]:
    acked: dict[int, int] = {}
    server = started(program, store)
    try:
        async with connected(server) as client:
            await ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "duplicate_window": 10**8})
            await publish_until(client, 0, MESSAGES, acked)
            # Wait for all acknowledgements.
            while len(acked) < MESSAGES:
                await client.flush()
            await asyncio.sleep(delay_s)
            server.kill()
    finally:
        server.close()
    return acked


def _files_of(store: Path) -> list[Path]:
    return [path for path in store.rglob("*") if path.is_file() and path.read_bytes().rstrip(b"\0")]


async def _flip(program: Path, store: Path, delay_s: float, flips: int) -> None:
    acked = await _fill(program, store, delay_s)
    files = _files_of(store)
    chance = random.Random(SEED)
    print(f"STONECHAT_SEED={SEED}")
    lost = dropped = 0
    for turn in range(flips):
        # Half of the flips choose a file by its size, so mostly large files. The other half choose any file.
        weights = [path.stat().st_size if turn % 2 else 1 for path in files]
        damaged = chance.choices(files, weights=weights)[0]
        copy = copy_of(store, "copy")
        path = copy / damaged.relative_to(store)
        data = bytearray(path.read_bytes())
        bit = chance.randrange(len(data.rstrip(b"\0")) * 8)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        where = f"{path.relative_to(copy)}, bit {bit}"
        if path.name in ("STONECHAT", "STONECHAT-2"):
            continue
        server = _start(program, copy, where)
        try:
            async with connected(server) as client:
                state = (await ask(client, "STREAM.INFO.S"))["state"]
                verdict = await verify(client, acked)
            log = server.log()
            assert verdict.wrong == [], where
            if not delay_s and "the end of the log can't be read and was dropped" in log:
                # The server was killed before it noted that its last writes were durable. Damage there looks like an
                # unfinished write: only the end of the log is dropped, and this is reported.
                dropped += 1
                assert sorted(verdict.missing) == sorted(acked)[len(acked) - len(verdict.missing) :], where
                continue
            assert state["messages"] == len(acked), where
            assert verdict.missing == [], where
            assert len(verdict.corrupt) <= 1, where
            if verdict.corrupt:
                lost += 1
                assert "can't be read" in log, where
        finally:
            server.close()
    print(f"{flips} flips: {lost} lost one message, and named it; {dropped} dropped the end of the log, and told it")


def _start(program: Path, store: Path, where: str) -> ServerProcess:
    try:
        return started(program, store)
    except ServerFailedErrorError as error:
        raise AssertionError(f"the server does not start: {where}") from error


def test_the_creation_of_a_stream_is_no_single_point_of_failure(stonechat_program: Path, tmp_path: Path) -> None:
    """Flips one bit in the records that created streams and consumers, in a store that was killed soon after."""
    asyncio.run(_young(stonechat_program, tmp_path / "store"))


async def _young(program: Path, store: Path) -> None:
    server = started(program, store)
    try:
        async with connected(server) as client:
            await ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
            interest = {"name": "I", "subjects": ["i.>"], "retention": "interest"}
            await ask(client, "STREAM.CREATE.I", interest)
            consumer = {"stream_name": "I", "config": {"durable_name": "C", "ack_policy": "explicit"}}
            await ask(client, "CONSUMER.CREATE.I.C", consumer)
            for number in range(100):
                await client.publish(f"i.{number}", b"wanted", reply="nobody")
            acked: dict[int, int] = {}
            await publish_until(client, 0, 2500, acked)
            while len(acked) < 2500:
                await client.flush()
            server.kill()
    finally:
        server.close()
    (log,) = (store / "jetstream" / "log").glob("log-*")
    content = log.read_bytes()
    for text in (b'{"name":"S"', b'{"name":"I"', b'"durable_name":"C"'):
        assert content.count(text) == 2
        for at in (content.find(text), content.rfind(text)):
            copy = copy_of(store, "copy")
            damaged = copy / log.relative_to(store)
            data = bytearray(content)
            data[at] ^= 1
            damaged.write_bytes(data)
            server = _start(program, copy, f"{text!r} at {at}")
            try:
                async with connected(server) as client:
                    states = [(await ask(client, f"STREAM.INFO.{name}"))["state"] for name in "SI"]
                    assert [(state["messages"], state["consumer_count"]) for state in states] == [(2500, 0), (100, 1)]
                    assert (await verify(client, acked)).intact == 2500
                assert "is damaged at offset" in server.log()
            finally:
                server.close()


def test_a_stream_that_nobody_describes_is_kept_and_adopted(stonechat_program: Path, tmp_path: Path) -> None:
    asyncio.run(_adopt(stonechat_program, tmp_path / "store"))


async def _adopt(program: Path, store: Path) -> None:
    acked = await _fill(program, store, 0.05)
    (log,) = (store / "jetstream" / "log").glob("log-*")
    log.write_bytes(log.read_bytes().replace(b'{"name":"S"', b'{"nome":"S"'))
    catalogue = store / "jetstream" / "catalogue"
    for path in catalogue.glob("log-*"):
        path.unlink()
    server = _start(program, store, "no creation")
    try:
        async with connected(server) as client:
            assert (await ask(client, "STREAM.INFO.S"))["error"]["code"] == 404
        assert f"it is quarantined: {len(acked)} messages" in server.log()
        server.stop()
    finally:
        server.close()
    refused = await asyncio.to_thread(_repair, program, store, "77=S")
    assert refused.returncode == 2
    assert "no quarantined stream number 77; nothing was changed" in refused.stderr
    await asyncio.to_thread(_repair, program, store, "1=S")
    server = _start(program, store, "adopted")
    try:
        async with connected(server) as client:
            assert (await verify(client, acked)).intact == len(acked)
            assert (await ask(client, "STREAM.INFO.S"))["config"]["subjects"] == ["s.>"]
    finally:
        server.close()


def _repair(program: Path, store: Path, adopt: str) -> subprocess.CompletedProcess[str]:
    command = [str(program), "store", "repair", str(store), "--adopt", adopt]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
