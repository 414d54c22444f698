"""`stonechat-server store`: its reports about the store of a stopped server, and its repairs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.process import ServerFailedErrorError

from .store import ask, body, connected, publish_until, started

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 3000


def _tool(program: Path, *args: object) -> subprocess.CompletedProcess[str]:
    command = [str(program), "store", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _report(program: Path, verb: str, *args: object) -> tuple[int, Any]:
    done = _tool(program, verb, *args, "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def _digest(store: Path) -> str:
    """Returns a digest of all files in a directory."""
    digest = hashlib.sha256()
    for path in sorted(store.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(store)).encode() + path.read_bytes())
    return digest.hexdigest()


async def _fill(program: Path, store: Path, options: str = "") -> None:
    acked: dict[int, int] = {}
    server = started(program, store, options)
    try:
        async with connected(server) as client:
            await ask(client, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
            await ask(client, "CONSUMER.CREATE.S.worker", {"stream_name": "S", "config": {"name": "worker"}})
            await publish_until(client, 0, MESSAGES, acked)
            while len(acked) < MESSAGES:
                await client.flush()
        # A clean stop writes all messages to the segments.
        server.stop()
    finally:
        server.close()


def _damage(store: Path, number: int) -> Path:
    """Changes one byte of message `number` in its segment, and returns the file."""
    for path in sorted((store / "jetstream" / "streams").iterdir()):
        data = path.read_bytes()
        at = data.find(body(number))
        if at >= 0:
            path.write_bytes(data[: at + 20] + b"?" + data[at + 21 :])
            return path
    raise AssertionError(f"message {number} is in no segment")


async def _ask_started(program: Path, store: Path, *requests: tuple[str, Any]) -> list[Any]:
    server = started(program, store)
    try:
        async with connected(server) as client:
            return [await ask(client, path, payload) for path, payload in requests]
    finally:
        server.close()


def test_a_good_store_is_good_and_stays_as_it_is(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asyncio.run(_fill(stonechat_program, store))
    before = _digest(store)
    code, found = _report(stonechat_program, "check", store)
    assert (code, found["lost"], found["findings"]) == (0, 0, [])
    (stream,) = found["streams"]
    assert (stream["account"], stream["name"], stream["messages"]) == ("$G", "S", MESSAGES)
    assert [consumer["name"] for consumer in stream["consumers"]] == ["worker"]

    shown = _tool(stonechat_program, "show", store)
    assert shown.returncode == 0
    assert "stream S of account $G" in shown.stdout
    assert "consumer worker" in shown.stdout
    assert all(name in shown.stdout for name in stream["files"])
    assert _digest(store) == before
    # The tool also accepts the `jetstream` directory itself.
    assert _tool(stonechat_program, "check", store / "jetstream").returncode == 0


def test_damage_is_named_and_its_loss_accepted_only_when_asked(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asyncio.run(_fill(stonechat_program, store))
    path = _damage(store, 1234)
    before = _digest(store)
    sequence = 1235
    code, found = _report(stonechat_program, "check", store)
    assert (code, found["lost"], found["streams"][0]["lost"]) == (1, 1, [[sequence, sequence]])
    assert found["streams"][0]["messages"] == MESSAGES
    (finding,) = found["findings"]
    assert finding["level"] == "error"
    for word in ("'S'", path.name, "offset", f"sequences {sequence} to {sequence}"):
        assert word in finding["text"]
    assert _digest(store) == before

    # The lost message stays in the count until its loss is accepted.
    code, found = _report(stonechat_program, "repair", store)
    assert (code, found["lost"], found["removed"]) == (1, 1, {})
    get = ("STREAM.MSG.GET.S", {"seq": sequence})
    info, answer = asyncio.run(_ask_started(stonechat_program, store, ("STREAM.INFO.S", ""), get))
    assert (info["state"]["messages"], answer["error"]["err_code"]) == (MESSAGES, 10900)

    code, found = _report(stonechat_program, "repair", "--accept-loss", store)
    assert (code, found["lost"], found["removed"]) == (0, 0, {"S": 1})
    assert _report(stonechat_program, "check", store)[0] == 0
    info, answer = asyncio.run(_ask_started(stonechat_program, store, ("STREAM.INFO.S", ""), get))
    assert (info["state"]["messages"], info["state"]["num_deleted"]) == (MESSAGES - 1, 1)
    assert answer["error"]["err_code"] == 10037


def test_what_can_not_be_opened_is_told(stonechat_program: Path, tmp_path: Path) -> None:
    nothing = _tool(stonechat_program, "check", tmp_path)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "no stonechat store" in nothing.stderr
    assert not list(tmp_path.iterdir())
    server = started(stonechat_program, tmp_path / "store")
    try:
        busy = _tool(stonechat_program, "repair", tmp_path / "store")
        assert busy.returncode == 2
        assert "another server uses" in busy.stderr
    finally:
        server.close()


def test_an_encrypted_store_asks_for_its_key(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asyncio.run(_fill(stonechat_program, store, 'key: "open sesame"'))
    locked = _tool(stonechat_program, "check", store)
    assert locked.returncode == 2
    assert "the store is encrypted" in locked.stderr
    config = tmp_path / "server.conf"
    config.write_text(f'jetstream {{ store_dir: "{store}", key: "open sesame" }}')
    code, found = _report(stonechat_program, "check", "--config", config)
    assert (code, found["streams"][0]["messages"]) == (0, MESSAGES)


@pytest.mark.parametrize("args", [["--help"], ["check", "--help"], ["repair", "--help"]])
def test_it_explains_itself(stonechat_program: Path, args: list[str]) -> None:
    helped = _tool(stonechat_program, *args)
    assert helped.returncode == 0
    assert "stonechat-server store" in helped.stdout


def test_after_a_clean_stop_the_log_holds_nothing_to_be_read(stonechat_program: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    # The server stops right after the last message, long before the next regular checkpoint.
    asyncio.run(_fill(stonechat_program, store))
    for _ in range(2):
        code, report = _report(stonechat_program, "check", store)
        assert code == 0
        assert report["log_records"] == 0
        assert report["streams"][0]["messages"] == MESSAGES
        assert asyncio.run(_ask_started(stonechat_program, store, ("STREAM.INFO.S", "")))


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_store_without_its_log_is_not_used_until_somebody_accepts_that(
    stonechat_program: Path, tmp_path: Path, is_emptied: bool
) -> None:
    store = tmp_path / "store"
    asyncio.run(_fill(stonechat_program, store))
    log = store / "jetstream" / "log"
    shutil.rmtree(log)
    if is_emptied:
        log.mkdir(mode=0o700)
    code, found = _report(stonechat_program, "check", store)
    assert (code, found["streams"][0]["messages"]) == (1, MESSAGES)
    assert "the log is missing" in found["findings"][0]["text"]
    segments = _digest(store / "jetstream" / "streams")
    with pytest.raises(ServerFailedErrorError, match=r"the log is missing, .* repair --accept-loss"):
        started(stonechat_program, store)
    refused = _tool(stonechat_program, "repair", store)
    assert refused.returncode == 2
    assert "Put the directory `log` back" in refused.stderr
    assert _digest(store / "jetstream" / "streams") == segments
    assert list(log.iterdir()) == []

    code, found = _report(stonechat_program, "repair", store, "--accept-loss")
    assert (code, found["streams"][0]["messages"], found["removed"]) == (0, MESSAGES, {})
    assert _report(stonechat_program, "check", store)[0] == 0
    (info,) = asyncio.run(_ask_started(stonechat_program, store, ("STREAM.INFO.S", "")))
    assert (info["state"]["messages"], info["state"]["consumer_count"]) == (MESSAGES, 1)
