"""What all scripts of this lab share: options, the connection, buckets, and what nats-py lacks."""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError
from nats.js.kv import KV_DEL, KV_MARKER_REASON, KV_OP, KV_PURGE, KeyValue

sys.path.append(str(Path(__file__).parents[1]))  # labkit lies beside the labs

import labkit.client

CONFIG = "CONFIG"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_SUBJECT = "Nats-Expected-Last-Subject-Sequence-Subject"
WRONG_LAST_SEQUENCE = (10071, 10164)  # error codes of the server
# Where the scripts keep what must outlive them.
STATE = Path(__file__).with_name("state")


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


async def open_bucket(js: JetStreamContext, name: str) -> KeyValue:
    """Open a bucket, or end with a sentence that says how to create it."""
    try:
        return await js.key_value(name)
    except NotFoundError:
        raise SystemExit(f"bucket {name} not found: `python kv.py new {name}` creates it") from None
    except nats.js.errors.InvalidBucketNameError:
        raise SystemExit(f"{name!r} is no name for a bucket: letters, digits, _ and - only") from None


async def fresh_bucket(js: JetStreamContext, name: str, **config: Any) -> KeyValue:
    """Create an empty bucket; one that is there already is deleted first."""
    with contextlib.suppress(NotFoundError):
        await js.delete_key_value(name)
    return await js.create_key_value(bucket=name, **config)


def operation(entry: KeyValue.Entry) -> str:
    """What an entry did to its key, in lower case: put, del or purge."""
    return (entry.operation or "PUT").lower()


def text(entry: KeyValue.Entry) -> str:
    """The value as text."""
    return (entry.value or b"").decode()


async def end(watcher: KeyValue.KeyWatcher) -> None:
    """End a watch, and the loop over it."""
    await watcher.stop()  # type: ignore[no-untyped-call]


async def find(kv: KeyValue, pattern: str) -> list[str]:
    """The keys that match a pattern with wildcards; the server filters, and no match is an empty list.

    `KeyValue.keys(filters=...)` fetches all keys, looks for substrings, and raises an error if there is none.
    """
    watcher = await kv.watch(pattern, meta_only=True, ignore_deletes=True, inactive_threshold=5)
    keys = []
    async for entry in watcher:
        if entry is None:  # all that was there
            break
        keys.append(entry.key)
    await end(watcher)
    return sorted(keys)


async def follow(url: str, bucket: str, pattern: str = ">") -> AsyncIterator[KeyValue.Entry | None]:
    """All entries that match, then None, then every change: also over restarts of the server.

    A watcher of nats-py falls silent for up to 20 seconds when the connection comes back. So every new connection
    starts a new watch, and entries that were seen before are left out.
    """
    watcher: KeyValue.KeyWatcher | None = None

    async def renew() -> None:
        if watcher is not None:
            await end(watcher)  # ends the loop over this watcher below

    nc = await connect(
        url, allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=0.2, reconnected_cb=renew
    )
    kv = await open_bucket(nc.jetstream(), bucket)
    known: dict[str, int] = {}
    complete = False
    try:
        while True:
            try:
                watcher = await kv.watch(pattern, inactive_threshold=30)
            except (nats.errors.Error, asyncio.TimeoutError):
                await asyncio.sleep(0.2)  # the server is not ready yet
                continue
            present: set[str] = set()
            async for entry in watcher:
                if entry is None:
                    # A key whose marker has expired meanwhile is in no watch: it is missing.
                    for key in known.keys() - present:
                        del known[key]
                        yield KeyValue.Entry(bucket, key, None, None, None, None, KV_PURGE)
                    if not complete:
                        complete = True
                        yield None
                    continue
                present.add(entry.key)
                if known.get(entry.key) != entry.revision:
                    known[entry.key] = entry.revision or 0
                    yield entry
    finally:
        await nc.close()


async def create(js: JetStreamContext, bucket: str, key: str, value: bytes, *, ttl: int) -> int | None:
    """Create a key that has no value; returns its revision, or None if it has one.

    `KeyValue.create` does the same, but takes the marker of a value that has expired for a value.
    """
    subject = f"$KV.{bucket}.{key}"
    while True:
        try:
            last = await js.get_last_msg(f"KV_{bucket}", subject)
        except NotFoundError:
            revision = 0
        else:
            headers = last.headers or {}
            if KV_OP not in headers and KV_MARKER_REASON not in headers:
                return None
            revision = last.seq or 0
        try:
            ack = await js.publish(subject, value, headers={EXPECTED: str(revision)}, msg_ttl=ttl)
        except APIError as error:
            if error.err_code not in WRONG_LAST_SEQUENCE:
                raise
            continue  # changed since we looked: look again
        return ack.seq


async def acquire(js: JetStreamContext, bucket: str, key: str, name: str, *, ttl: int) -> int:
    """Wait until a key has no value, and create it; returns its revision."""
    watcher = await (await open_bucket(js, bucket)).watch(key, inactive_threshold=5)
    async for entry in watcher:
        # None: all is told, perhaps there was nothing. A marker: the key was given back, or has expired.
        if entry is None or is_gone(entry):
            revision = await create(js, bucket, key, name.encode(), ttl=ttl)
            if revision is not None:
                await end(watcher)
                return revision
    raise AssertionError("a watcher does not end by itself")


def is_gone(entry: KeyValue.Entry) -> bool:
    """Whether the entry says that its key has no value any more."""
    return entry.operation in (KV_DEL, KV_PURGE)


def stop_event() -> asyncio.Event:
    """Set by Ctrl-C, or by the SIGTERM of Docker, systemd and Kubernetes."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def state_file(name: str) -> Path:
    """A file that outlives the script."""
    STATE.mkdir(exist_ok=True)
    return STATE / name
