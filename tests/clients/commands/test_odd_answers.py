"""Answers and files with JSON that is not an object cause an error, never a panic."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import execute
from tests.clients.helpers import client
from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.msg import Msg

LINES = [
    "stream info S",
    "stream edit S --max-msgs 5 --force",
    "stream seal S --force",
    "stream ls",
    "consumer info S C",
    "consumer edit S C --max-pending 5 --force",
    "kv info B",
    "kv edit B --history 5",
    "kv ls B",
    "object info B",
    "object edit B --description x",
    "object seal B --force",
    "account info",
    "service info S",
]


@pytest.mark.parametrize("odd", [b"[1]", b"7", b'"text"', b"null", b'{"config":[1],"state":7}'], ids=repr)
def test_answers_of_another_shape(command: Path, stonechat_program: Path, odd: bytes) -> None:
    asyncio.run(_answer_oddly(command, stonechat_program, odd))


async def _answer_oddly(command: Path, program: Path, odd: bytes) -> None:
    async def answer(message: Msg) -> None:
        await message.respond(odd)

    with ServerProcess(program) as server:
        async with client(server) as connection:
            for subject in ("$JS.API.>", "$SRV.>"):
                await connection.subscribe(subject, cb=answer)
            await connection.flush()
            for line in LINES:
                done = await asyncio.to_thread(execute, command, f"{line} --timeout 2s", server)
                assert b"panicked" not in done.stderr, (line, done.stderr)
                assert done.returncode in (0, 1), (line, done)


def test_a_backup_of_another_shape(command: Path, server: ServerProcess) -> None:
    folder = server.directory / "backup"
    folder.mkdir()
    for text in ("[1]", "7", '{"config":[]}'):
        (folder / "backup.json").write_text(text)
        done = execute(command, "stream restore backup", server)
        assert (done.returncode, b"it holds no configuration" in done.stderr) == (1, True), done
