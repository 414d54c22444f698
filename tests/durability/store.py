"""Helpers for servers on a permanent store, and for clients that record the acknowledged messages."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import os
import shutil
import socket
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import nats

from tests.support.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

    from nats.aio.client import Client
    from nats.aio.msg import Msg

CORRUPT = 10900
"""Error code for a stored message that can't be read any more."""
_AT_ONCE = 500
SEED = int(os.environ.get("STONECHAT_SEED") or time.time_ns() % 1_000_000)
"""Seed of the random numbers. It differs in each run; failures print it, so that they can be repeated."""


def body(number: int) -> bytes:
    """Returns the payload of message `number`, with a checksum. Every 16th payload has several pages."""
    times = 200 if number % 16 == 3 else 1 + number % 4
    return b"%08d-" % number + hashlib.sha256(b"%d" % number).hexdigest().encode() * times


async def _quiet(_: Exception) -> None:
    """Ignores errors of the client, since the server is killed on purpose."""


@asynccontextmanager
async def connected(server: ServerProcess) -> AsyncIterator[Client]:
    """Connects a client that ignores the end of its server."""
    client = await nats.connect(
        f"nats://127.0.0.1:{server.port}", allow_reconnect=False, max_reconnect_attempts=0, error_cb=_quiet
    )
    try:
        yield client
    finally:
        with suppress(OSError):
            await client.close()


def started(program: Path, store: Path, sync: str = "") -> ServerProcess:
    """Starts a server on this store."""
    server = ServerProcess(program, f'jetstream {{ store_dir: "{store}"{sync and ", " + sync} }}')
    try:
        return server.start()
    except BaseException:
        server.close()
        raise


async def publish_until(
    client: Client, first: int, end: int, acked: dict[int, int], enough: Callable[[], bool] = lambda: False
) -> int:
    """Publishes messages from `first` to `end`, until `enough` is true or the server ends; at most 1000 are in flight.

    Adds to `acked` the number of the message for each acknowledged sequence. Returns the next number.
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
        # If the server ends, its answers never arrive: check the conditions of the loop every second.
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
    """Sends a request to the JetStream API and returns the parsed response."""
    data = json.dumps(payload).encode() if payload != "" else b""
    return json.loads((await client.request(f"$JS.API.{path}", data, timeout=30)).data)


class Verdict:
    """Results of reading acknowledged messages."""

    def __init__(self) -> None:
        self.intact = 0
        self.corrupt: list[int] = []
        self.missing: list[int] = []
        self.wrong: list[int] = []

    def note(self, sequence: int, number: int, answer: bytes) -> None:
        """Records the response to a get of message `number`, whose sequence is `sequence`."""
        if b'"data":"%b"' % base64.b64encode(body(number)) in answer:
            self.intact += 1
        elif error := json.loads(answer).get("error"):
            (self.corrupt if error.get("err_code") == CORRUPT else self.missing).append(sequence)
        else:
            self.wrong.append(sequence)


async def verify(client: Client, acked: Mapping[int, int]) -> Verdict:
    """Reads all acknowledged messages and compares them."""
    url = client.connected_url
    assert url is not None
    address = (url.hostname or "", url.port or 0)
    return await asyncio.to_thread(_read_all, address, list(acked.items()))


def _read_all(address: tuple[str, int], wanted: list[tuple[int, int]]) -> Verdict:
    """Reads messages over a plain socket, because a client library is slow for tens of thousands of requests."""
    verdict = Verdict()
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b'CONNECT {"verbose":false}\r\nSUB got.* 1\r\n')
        frames = _frames(connection)
        for begin in range(0, len(wanted), _AT_ONCE):
            some = dict(wanted[begin : begin + _AT_ONCE])
            connection.sendall(b"".join(map(_request, some)))
            for sequence, payload in itertools.islice(frames, len(some)):
                verdict.note(sequence, some.pop(sequence), payload)
            assert not some
    return verdict


def _request(sequence: int) -> bytes:
    payload = b'{"seq":%d}' % sequence
    return b"PUB $JS.API.STREAM.MSG.GET.S got.%d %d\r\n%b\r\n" % (sequence, len(payload), payload)


def _frames(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yields sequence and payload of the messages on `got.SEQUENCE`."""
    with connection.makefile("rb", buffering=1 << 18) as stream:
        for line in stream:
            operation, _, rest = line.partition(b" ")
            if operation == b"MSG":
                subject, _, length = rest.split()
                payload = stream.read(int(length) + 2)
                yield int(subject.removeprefix(b"got.")), payload[:-2]


def copy_of(store: Path, name: str) -> Path:
    """Makes a new copy of a store."""
    copy = store.with_name(name)
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(store, copy)
    return copy
