"""A server whose store outlives it, and a client that knows what was acknowledged."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import nats

from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

CORRUPT = 10900
"""The error of a message that was stored and can't be read any more."""


def body(number: int) -> bytes:
    """What message `number` says; its checksum is part of it. Some are of several pages."""
    times = 200 if number % 16 == 3 else 1 + number % 4
    return b"%08d-" % number + hashlib.sha256(b"%d" % number).hexdigest().encode() * times


async def _quiet(_: Exception) -> None:
    """The server is killed on purpose."""


@asynccontextmanager
async def connected(server: ServerProcess) -> AsyncIterator[Client]:
    """A client that does not mind when its server dies."""
    client = await nats.connect(
        f"nats://127.0.0.1:{server.port}", allow_reconnect=False, max_reconnect_attempts=0, error_cb=_quiet
    )
    try:
        yield client
    finally:
        with suppress(OSError):
            await client.close()


def started(program: Path, store: Path, sync: str = "") -> ServerProcess:
    """A server on this store."""
    server = ServerProcess(program, f'jetstream {{ store_dir: "{store}"{sync and ", " + sync} }}')
    try:
        return server.start()
    except BaseException:
        server.close()
        raise


async def publish_until(
    client: Client, first: int, end: int, acked: dict[int, int], enough: Callable[[], bool] = lambda: False
) -> int:
    """Publishes messages from `first` to `end`, unless it is enough or the server is gone; a thousand wait at most.

    Notes in `acked` which number each acknowledged sequence has; answers the next number.
    """
    inbox = client.new_inbox()
    waiting = asyncio.Semaphore(1000)

    async def note(message: Msg) -> None:
        answer = json.loads(message.data)
        if "error" not in answer:
            acked[answer["seq"]] = int(message.subject.rpartition(".")[2])
        waiting.release()

    await client.subscribe(f"{inbox}.*", cb=note)
    number = first
    while number < end and not enough() and client.is_connected:
        # An answer may never come: then it is over too.
        try:
            await asyncio.wait_for(waiting.acquire(), 1)
        except TimeoutError:
            continue
        try:
            await client.publish(f"s.{number % 500}", body(number), reply=f"{inbox}.{number}")
        except (nats.errors.Error, OSError):
            break
        number += 1
        if number % 50 == 0:
            await asyncio.sleep(0)
    return number


async def ask(client: Client, path: str, payload: Any = "") -> Any:
    """The answer of the API."""
    data = json.dumps(payload).encode() if payload != "" else b""
    return json.loads((await client.request(f"$JS.API.{path}", data, timeout=30)).data)


class Verdict:
    """How acknowledged messages were found again."""

    def __init__(self) -> None:
        self.intact = 0
        self.corrupt: list[int] = []
        self.missing: list[int] = []
        self.wrong: list[int] = []


async def verify(client: Client, acked: Mapping[int, int]) -> Verdict:
    """Reads all acknowledged messages and compares them."""
    verdict = Verdict()
    busy = asyncio.Semaphore(500)

    async def check(sequence: int, number: int) -> None:
        async with busy:
            answer = await ask(client, "STREAM.MSG.GET.S", {"seq": sequence})
        if error := answer.get("error"):
            (verdict.corrupt if error.get("err_code") == CORRUPT else verdict.missing).append(sequence)
        elif base64.b64decode(answer["message"]["data"]) != body(number):
            verdict.wrong.append(sequence)
        else:
            verdict.intact += 1

    items = list(acked.items())
    for begin in range(0, len(items), 5000):
        await asyncio.gather(*(check(*item) for item in items[begin : begin + 5000]))
    return verdict


def copy_of(store: Path, name: str) -> Path:
    """A fresh copy of a store."""
    copy = store.with_name(name)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(store, copy)
    return copy
