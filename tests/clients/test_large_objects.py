"""Large objects, many concurrent ones, and damaged ones.

natscli #993 and nats.go #1908: big uploads stall. nats.js #430, nats.net #1013, nats.py #668: a get hangs.
nats.rs #1093: a value over the limit breaks the connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_lines import CONFIG, execute, tool_or_skip

from .helpers import client

if TYPE_CHECKING:
    from pathlib import Path

    from nats.js.api import ObjectInfo

    from tests.support.process import ServerProcess

    from .conftest import StartServer

UPLOADS = int(os.environ.get("STONECHAT_UPLOADS", "20"))
SIZE = int(os.environ.get("STONECHAT_UPLOAD_MIB", "20")) << 20
"""Size of an object in bytes. The reported cases, 20 objects of 200 MiB and one of 4096 MiB, are run manually."""
PATIENCE_S = 300.0 + SIZE / (4 << 20)


def write_body(number: int, path: Path) -> bytes:
    """Writes the content of object `number` to a file, and returns its digest."""
    piece = random.Random(number).randbytes(1 << 20)
    with path.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(piece)
    return digest_of(path)


def digest_of(path: Path) -> bytes:
    """Returns the digest of a file, which may be larger than the memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.digest()


@pytest.mark.parametrize("program", ["stonechat", "nats"])
def test_many_uploads_at_a_time_by_a_command(program: str, command: Path, start_server: StartServer) -> None:
    """Many concurrent commands put a file each, and get it back unchanged."""
    tool = command if program == "stonechat" else tool_or_skip()
    server = start_server(CONFIG)
    assert execute(command, "object add BIG", server).returncode == 0

    def there_and_back(number: int) -> None:
        source, target = server.directory / f"source-{number}", server.directory / f"target-{number}"
        digest = write_body(number, source)
        for line in (f"object put BIG {source} --name {number} -f", f"object get BIG {number} -O {target}"):
            # Many processes share few cores, so each has a long timeout.
            done = execute(tool, f"{line} --timeout {PATIENCE_S:.0f}s", server, timeout=PATIENCE_S)
            assert done.returncode == 0, done
        source.unlink()
        assert digest_of(target) == digest
        target.unlink()

    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(there_and_back, range(UPLOADS)))


def test_many_uploads_at_a_time_by_a_client(start_server: StartServer) -> None:
    """The same with nats-py. Only the number of stored bytes is checked, because its `get` takes quadratic time."""
    asyncio.run(_upload(start_server(CONFIG)))


async def _upload(server: ServerProcess) -> None:
    async with client(server, pending_size=64 << 20) as connection:
        store = await connection.jetstream(timeout=PATIENCE_S).create_object_store("BIG")

        async def put(number: int) -> ObjectInfo:
            source = server.directory / f"source-{number}"
            digest = write_body(number, source)
            with source.open("rb") as file:
                info = await store.put(f"{number}", file)
            source.unlink()
            assert info.digest == f"SHA-256={base64.urlsafe_b64encode(digest).decode()}"
            return info

        infos = await asyncio.gather(*(put(number) for number in range(UPLOADS)))
        for number, info in enumerate(infos):
            assert info.size == SIZE
            assert (await store.get_info(f"{number}")).chunks == SIZE >> 17
        state = (await connection.jetstream().stream_info("OBJ_BIG")).state
        assert state.messages == UPLOADS * ((SIZE >> 17) + 1)


DAMAGES: dict[str, tuple[list[str], bytes]] = {
    "missing": (["stream rmm OBJ_X 2 -f"], b"chunk 2 of 4 is missing"),
    "none": (["stream purge OBJ_X -f --subject $O.X.C.>"], b"chunk 1 of 4 is missing"),
    "longer": (["pub {chunks} more"], b"5 chunks are there, not 4"),
    "another size": (["stream rmm OBJ_X 4 -f", "pub {chunks} short"], b"chunk 4 of 4 has 5 bytes, not 106784"),
    "another byte": (["stream rmm OBJ_X 4 -f", "pub {chunks} {wrong}"], b"its 4 chunks have the digest SHA-256="),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_told_at_once(command: Path, start_server: StartServer, damage: str) -> None:
    """A damaged object is an immediate error that names object and chunk; no wrong byte and no file is written.

    nats-py waits for ever if a chunk is missing.
    """
    server = start_server(CONFIG)
    for line in ("object add X", "object put X --name a", "stream edit OBJ_X -f --no-deny-delete --no-deny-purge"):
        assert execute(command, line, server, stdin=b"x" * 500_000).returncode == 0
    info = json.loads(execute(command, "object info X a --json", server).stdout)
    chunks, wrong = f"$O.X.C.{info['nuid']}", "y" * (500_000 - 3 * (128 << 10))
    lines, said = DAMAGES[damage]
    for line in lines:
        changed = execute(command, line.format(chunks=chunks, wrong="-"), server, stdin=wrong.encode())
        assert changed.returncode == 0, changed
    got = execute(command, "object get X a -O target", server)
    assert got.returncode == 1
    assert said in got.stderr
    assert not list(server.directory.glob("*target*"))


LIMIT = 100_000


@pytest.mark.parametrize("to", ["bucket", "server"])
def test_a_value_over_the_limit_is_told(command: Path, start_server: StartServer, to: str) -> None:
    """The error names the limit of the bucket or the server, and later operations still work."""
    server = start_server(f"{CONFIG}\nmax_payload: {LIMIT}" if to == "server" else CONFIG)
    limit = f"--max-value-size {LIMIT}" if to == "bucket" else ""
    assert execute(command, f"kv add B {limit}", server).returncode == 0
    refused = execute(command, "kv put B a", server, stdin=b"x" * (LIMIT + 1))
    assert refused.returncode == 1
    assert str(LIMIT).encode() in refused.stderr, refused
    assert execute(command, "kv put B a", server, stdin=b"x" * (LIMIT - 1000)).returncode == 0


def test_a_client_goes_on_after_a_value_over_the_limit(start_server: StartServer) -> None:
    """nats-py itself refuses values above the server's limit; the server refuses those above the bucket's limit."""
    asyncio.run(_too_large(start_server(f"{CONFIG}\nmax_payload: {LIMIT}")))


async def _too_large(server: ServerProcess) -> None:
    async with client(server) as connection:
        stream = connection.jetstream()
        bucket = await stream.create_key_value(bucket="B", max_value_size=1000)
        with pytest.raises(Exception, match="maximum payload exceeded"):
            await bucket.put("a", bytes(LIMIT + 1))
        with pytest.raises(Exception, match="message size exceeds maximum allowed"):
            await bucket.put("a", bytes(2000))
        assert await bucket.put("a", b"fits") == 1
        assert server.get_json("/varz")["total_connections"] == 1
