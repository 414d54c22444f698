"""Buckets on unusual streams, and objects with malformed descriptions: the valid parts are shown."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import execute
from tests.clients.helpers import client
from tests.support.odd_objects import DAMAGED, ODD, UNREADABLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.process import ServerProcess


async def _publish(server: ServerProcess, messages: list[tuple[str, bytes, dict[str, str] | None]]) -> None:
    async with client(server) as connection:
        for subject, data, headers in messages:
            await connection.jetstream(timeout=30).publish(subject, data, headers=headers)


def _subject(bucket: str, name: str) -> str:
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def test_odd_objects(command: Path, server: ServerProcess) -> None:
    """Readable objects are listed and shown, others are errors without a panic; no file is written for damaged ones."""
    assert execute(command, "object add ODD", server).returncode == 0
    odd: list[tuple[str, bytes, dict[str, str] | None]] = [
        (_subject("ODD", name), data, None) for name, data in (ODD | UNREADABLE).items()
    ]
    asyncio.run(_publish(server, odd))
    for line in ("object ls ODD", "object ls ODD --json", "object ls ODD --names", "object check ODD"):
        shown = execute(command, line, server)
        assert shown.returncode == (1 if "check" in line else 0), shown
        assert b"\x1b" not in shown.stdout + shown.stderr
        assert b"panicked" not in shown.stderr
    names = execute(command, "object ls ODD --names", server)
    assert names.stdout.decode().splitlines() == list(ODD)
    assert names.stderr.count(b"describes no object") == len(UNREADABLE)
    for name in ODD:
        shown = execute(command, f"object info ODD {name}", server)
        assert (shown.returncode, shown.stderr) == (0, b"")
        assert b"\x1b" not in shown.stdout
    assert json.loads(execute(command, "object info ODD halves --json", server).stdout)["metadata"] == {"a": "\ufffd"}
    for name in DAMAGED:
        got = execute(command, f"object get ODD {name} -O target", server)
        assert got.returncode == 1, got
        assert b"panicked" not in got.stderr
    for name in UNREADABLE:
        assert b"describes no object" in execute(command, f"object info ODD {name}", server).stderr
    assert not list(server.directory.glob("*target*"))


def test_an_object_owns_its_own_chunks_alone(command: Path, server: ServerProcess) -> None:
    """An object with the id `>` has no chunks; otherwise its deletion would remove the chunks of all objects."""
    assert execute(command, "object add OWN", server).returncode == 0
    assert execute(command, "object put OWN --name good", server, stdin=b"12345").returncode == 0
    asyncio.run(
        _publish(server, [(_subject("OWN", "all"), ODD["all"], None), (_subject("OWN", "b"), ODD["all"], None)])
    )
    assert execute(command, "object del OWN all -f", server).returncode == 0
    assert execute(command, "object put OWN --name b -f", server, stdin=b"again").returncode == 0
    got = execute(command, "object get OWN good -O good", server)
    assert (got.returncode, (server.directory / "good").read_bytes()) == (0, b"12345")


BY_HAND = {
    "other subjects": "--subjects hand.> --max-msgs 5",
    "one key": "--subjects $KV.HAND.only --max-age 1y --compression s2",
    "no direct gets": "--subjects $KV.HAND.> --no-allow-direct --metadata 'a=<b>'",
    "more subjects": "--subjects $KV.HAND.>,more.* --description 'an\x1b[2J escape'",
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_a_bucket_made_by_hand(command: Path, server: ServerProcess, kind: str) -> None:
    made = execute(command, f"stream add KV_HAND --defaults {BY_HAND[kind]}", server)
    assert made.returncode == 0, made
    for line in ("kv info HAND", "kv info HAND --json", "kv ls", "kv ls HAND", "kv ls HAND -v", "kv compact HAND -f"):
        shown = execute(command, line, server)
        assert shown.returncode == 0, shown
        assert b"\x1b" not in shown.stdout + shown.stderr
    none = execute(command, "kv get HAND a", server)
    assert (none.returncode, b"not found in bucket HAND" in none.stderr) == (1, True)
    assert execute(command, "kv del HAND -f", server).returncode == 0


@pytest.mark.parametrize("direct", ["allow-direct", "no-allow-direct"])
def test_headers_of_a_writer_do_not_pass_for_those_of_the_server(
    command: Path, server: ServerProcess, direct: str
) -> None:
    line = f"stream add KV_FORGED --defaults --subjects $KV.FORGED.> --{direct}"
    assert execute(command, line, server).returncode == 0
    forged = {"Nats-Subject": "$KV.FORGED.b", "Nats-Sequence": "99", "Nats-Time-Stamp": "never", "Nats-Msg-Size": "x"}
    asyncio.run(_publish(server, [("$KV.FORGED.a", b"1", forged)]))
    entry = json.loads(execute(command, "kv get FORGED a --json", server).stdout)
    assert (entry["key"], entry["revision"], entry["created"][:2]) == ("a", 1, "20")
    assert execute(command, "kv del FORGED -f", server).returncode == 0
