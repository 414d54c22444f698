"""Readers that answer flow control late still receive every byte (nats.js #430, nats.net #1013, nats.py #668)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats

from tests.support.waiting import PATIENCE_S

from .helpers import QUICK

if TYPE_CHECKING:
    from .conftest import StartServer

CONFIG = "jetstream { store_dir: js }"
DATA = bytes(range(251)) * 16_000
"""Four megabytes. The server delivers a part and then waits for an answer to flow control."""
LATE_S = 1.0


class SlowWay:
    """A proxy to the server that delays answers to flow control, and all bytes after them."""

    def __init__(self, port: int) -> None:
        self.late = 0
        self._to = port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._to)
        for pump in (self._pump(reader, server_writer, is_slow=True), self._pump(server_reader, writer, is_slow=False)):
            self._tasks.add(asyncio.create_task(pump))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_slow: bool) -> None:
        try:
            while data := await reader.read(1 << 16):
                if is_slow and b"$JS.FC." in data:
                    self.late += 1
                    await asyncio.sleep(LATE_S)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


def test_a_get_of_nats_py(start_server: StartServer) -> None:
    asyncio.run(_get(start_server(CONFIG).port))


async def _get(port: int) -> None:
    way = SlowWay(port)
    async with way as url:
        connection = await nats.connect(url, **QUICK)
        store = await connection.jetstream(timeout=PATIENCE_S).create_object_store("SLOW")
        await store.put("a", DATA)
        got = await asyncio.wait_for(store.get("a"), 4 * PATIENCE_S)
        await connection.close()
    assert got.data == DATA
    assert way.late > 0
