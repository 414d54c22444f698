"""Lists of large buckets start at once; nats.go #1904 and nats-server #4680 report timeouts."""

from __future__ import annotations

import asyncio
import subprocess
import time
from typing import TYPE_CHECKING

from tests.clients.command_lines import CONFIG, command_environment, execute

from .helpers import client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.process import ServerProcess

    from .conftest import StartServer

KEYS = 100_000
OBJECT = 200 << 20
PATIENCE_S = 300.0


def listed(command: Path, server: ServerProcess, *words: str) -> tuple[list[str], float, float]:
    """Runs a list command; returns its lines, and the seconds until the first line and until the end."""
    began = time.monotonic()
    process = subprocess.Popen(
        [command, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=command_environment(server)
    )
    assert process.stdout is not None
    lines, first = [], 0.0
    for line in process.stdout:
        first = first or time.monotonic() - began
        lines.append(line.decode().rstrip())
    assert process.wait(PATIENCE_S) == 0
    return lines, first, time.monotonic() - began


def test_keys_are_listed_as_they_come(command: Path, start_server: StartServer) -> None:
    """The first key is printed long before the last; the server filters."""
    server = start_server(CONFIG)
    assert execute(command, "kv add B", server).returncode == 0
    asyncio.run(_fill(server))
    keys, first, whole = listed(command, server, "kv", "ls", "B")
    print(f"{len(keys)} keys: the first after {first * 1000:.0f} ms, all after {whole * 1000:.0f} ms")
    assert (len(keys), len(set(keys))) == (KEYS, KEYS)
    assert first < whole / 2
    some, _, _ = listed(command, server, "kv", "ls", "B", "*.7")
    assert sorted(some) == sorted(f"{number}.7" for number in range(KEYS // 100))


async def _fill(server: ServerProcess) -> None:
    async with client(server, pending_size=64 << 20) as connection:
        for number in range(KEYS):
            await connection.publish(f"$KV.B.{number // 100}.{number % 100}", b"value")
            if number % 5000 == 0:
                await connection.flush(60)
        stream = connection.jetstream(timeout=60)
        while (await stream.stream_info("KV_B")).state.messages < KEYS:  # noqa: ASYNC110 - each look is an answer
            await asyncio.sleep(0)


def test_objects_are_listed_beside_a_large_one(command: Path, start_server: StartServer) -> None:
    """The time of a list does not depend on the chunks of a large object."""
    server = start_server(CONFIG)
    large = server.directory / "large"
    with large.open("wb") as file:
        file.truncate(OBJECT)
    for line in ("object add O", "object put O --name first", f"object put O {large} --name large -f"):
        assert execute(command, line, server, stdin=b"small", timeout=PATIENCE_S).returncode == 0
    assert execute(command, "object put O --name last", server, stdin=b"small").returncode == 0
    told, first, whole = listed(command, server, "object", "ls", "O", "--json")
    print(f"the first object after {first * 1000:.0f} ms, all after {whole * 1000:.0f} ms")
    assert [line.split('"name":"')[1].split('"')[0] for line in told] == ["first", "large", "last"]


def test_a_list_ends_when_its_keys_are_removed(command: Path, start_server: StartServer) -> None:
    """A list ends even if keys that were counted at its start are removed before they are delivered."""
    server = start_server(CONFIG)
    assert execute(command, "kv add B", server).returncode == 0
    asyncio.run(_fill(server))
    process = subprocess.Popen(
        [command, "kv", "ls", "B", "-v", "--display-value", "--json"],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=command_environment(server),
    )
    assert process.stdout is not None
    # The unread pipe blocks the command, so the server stops delivering.
    assert process.stdout.readline()
    assert execute(command, "req $JS.API.STREAM.PURGE.KV_B ''", server).returncode == 0
    rest, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert rest.count(b"\n") < KEYS
