"""What all scripts of this lab share: options, the connection, and objects up and down, chunk by chunk."""

import argparse
import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore
from nats.nuid import NUID

sys.path.append(str(Path(__file__).parents[1]))  # labkit lies beside the labs

import labkit.client

REPORTS = "REPORTS"
CHUNK_SIZE = 128 * 1024
WINDOW = 8  # chunks on the way at a time
ROLLUP = {str(api.Header.ROLLUP.value): "sub"}
# Where the scripts keep files.
STATE = Path(__file__).with_name("state")


class BrokenObjectError(Exception):
    """What the bucket holds is not what was put into it."""


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that every script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default=labkit.client.URL, help="the server (default: %(default)s)")
    return parser


async def connect(url: str, **options: Any) -> Client:
    """Connect to a server with JetStream, or end with a sentence that says what to do."""
    return await labkit.client.connect_to_jetstream(url, **{"allow_reconnect": False, "error_cb": _quiet, **options})


async def _quiet(_: Exception) -> None:
    """Ignores errors of the connection: the call that fails reports them."""


async def open_store(js: JetStreamContext, bucket: str) -> ObjectStore:
    """Open a bucket, or end with a sentence that says how to create it."""
    try:
        return await js.object_store(bucket)
    except NotFoundError:
        raise SystemExit(f"bucket {bucket} not found: `python objects.py new {bucket}` creates it") from None


async def fresh_store(js: JetStreamContext, bucket: str) -> ObjectStore:
    """Create an empty bucket; one that is there already is deleted first."""
    with contextlib.suppress(NotFoundError):
        await js.delete_object_store(bucket)
    return await js.create_object_store(bucket)


def encoded(name: str) -> str:
    """An object's name as a token of a subject."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def new_nuid() -> str:
    """A name for the chunks of one version of an object: no two are the same."""
    return NUID().next().decode()


def digest_text(digest: bytes) -> str:
    """A SHA-256 as the metadata has it."""
    return "SHA-256=" + base64.urlsafe_b64encode(digest).decode()


async def objects(store: ObjectStore) -> list[api.ObjectInfo]:
    """All objects of a bucket, sorted by name. (`ObjectStore.list` raises an error if there is none.)"""
    try:
        return sorted(await store.list(ignore_deletes=True), key=lambda info: info.name)
    except NotFoundError:
        return []


async def put_info(js: JetStreamContext, info: api.ObjectInfo) -> None:
    """Write the metadata of an object. The roll-up replaces what the bucket has of this name, in one step."""
    subject = f"$O.{info.bucket}.M.{encoded(info.name)}"
    await js.publish(subject, json.dumps(info.as_dict()).encode(), headers=ROLLUP)


async def upload(
    js: JetStreamContext, bucket: str, name: str, pieces: AsyncIterator[bytes], meta: api.ObjectMeta | None = None
) -> api.ObjectInfo:
    """Store an object from pieces of any length: chunks first, metadata last.

    `ObjectStore.put` waits for the answer to each chunk; here several are on their way.
    """
    meta = meta or api.ObjectMeta()
    size = (meta.options and meta.options.max_chunk_size) or CHUNK_SIZE
    store = await js.object_store(bucket)
    nuid = new_nuid()
    chunk_subject = f"$O.{bucket}.C.{nuid}"
    digest, total, count = sha256(), 0, 0
    acks: list[asyncio.Future[api.PubAck]] = []
    try:
        async for chunk in _of_size(pieces, size):
            if len(acks) == WINDOW:
                await acks.pop(0)
            acks.append(await js.publish_async(chunk_subject, chunk))
            digest.update(chunk)
            total, count = total + len(chunk), count + 1
        await asyncio.gather(*acks)
        before = None
        with contextlib.suppress(NotFoundError):
            before = await store.get_info(name)
        info = api.ObjectInfo(
            name=name,
            bucket=bucket,
            nuid=nuid,
            size=total,
            chunks=count,
            digest=digest_text(digest.digest()),
            description=meta.description,
            headers=meta.headers,
            options=api.ObjectMetaOptions(max_chunk_size=size),
        )
        await put_info(js, info)
    except BaseException:
        # Without metadata these chunks belong to no object, and nobody would ever remove them.
        await asyncio.gather(*acks, return_exceptions=True)
        await js.purge_stream(f"OBJ_{bucket}", subject=chunk_subject)
        raise
    if before is not None and not before.is_link():
        await js.purge_stream(f"OBJ_{bucket}", subject=f"$O.{bucket}.C.{before.nuid}")
    return info


async def _of_size(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of one length; the last one may be shorter."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        while len(rest) >= size:
            yield bytes(rest[:size])
            del rest[:size]
    if rest:
        yield bytes(rest)


async def resolve(js: JetStreamContext, bucket: str, name: str) -> api.ObjectInfo:
    """The metadata of an object, or of what a link leads to."""
    for _ in range(8):
        info = await (await open_store(js, bucket)).get_info(name)
        if not info.is_link():
            return info
        assert info.options is not None
        assert info.options.link is not None
        if not info.options.link.name:
            raise BrokenObjectError(f"{name} is a link to the whole bucket {info.options.link.bucket}")
        bucket, name = info.options.link.bucket, info.options.link.name
    raise BrokenObjectError(f"{name} leads in circles")


async def chunks(js: JetStreamContext, info: api.ObjectInfo, *, after: int = 0) -> AsyncIterator[tuple[int, bytes]]:
    """The chunks of an object with their sequences, those behind the sequence `after` only.

    A pull consumer: a slow reader asks less often, and nothing piles up. A chunk that is missing is an error
    within five seconds.
    """
    config = api.ConsumerConfig(
        ack_policy=api.AckPolicy.NONE,
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        inactive_threshold=30,
    )
    reader = await js.pull_subscribe(f"$O.{info.bucket}.C.{info.nuid}", stream=f"OBJ_{info.bucket}", config=config)
    try:
        waiting = 1
        while waiting:
            try:
                messages = await reader.fetch(WINDOW, timeout=5)
            except (nats.errors.TimeoutError, asyncio.TimeoutError):
                raise BrokenObjectError(f"{info.name}: chunks are missing") from None
            for message in messages:
                waiting = message.metadata.num_pending
                yield message.metadata.sequence.stream, message.data
    finally:
        await reader.unsubscribe()


async def download(js: JetStreamContext, bucket: str, name: str) -> AsyncIterator[bytes]:
    """The bytes of an object; raises an error at the end if they are not what was put."""
    info = await resolve(js, bucket, name)
    digest, total = sha256(), 0
    if info.size:
        async for _, chunk in chunks(js, info):
            digest.update(chunk)
            total += len(chunk)
            yield chunk
    check(info, digest.digest(), total)


def check(info: api.ObjectInfo, digest: bytes, size: int) -> None:
    """Compare what was read with what the metadata says."""
    if size != info.size:
        raise BrokenObjectError(f"{info.name}: {size} bytes instead of {info.size}")
    if base64.urlsafe_b64decode((info.digest or "").partition("=")[2]) != digest:
        raise BrokenObjectError(f"{info.name}: the digest differs, some byte is wrong")


async def file_pieces(path: Path) -> AsyncIterator[bytes]:
    """A file, read in a thread so that the connection goes on meanwhile."""
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, CHUNK_SIZE):
            yield piece


def state_file(name: str) -> Path:
    """A file in the folder for files."""
    STATE.mkdir(exist_ok=True)
    return STATE / name
