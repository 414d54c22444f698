"""What all scripts of this lab share: options, the connection, and the depot's streams."""

import argparse
import asyncio
import contextlib
import os
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError

SCANS = "SCANS"
PAYMENTS = "PAYMENTS"
# Where the scripts keep what must outlive them.
STATE = Path(__file__).with_name("state")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that every script has."""
    parser = argparse.ArgumentParser(description=description)
    url = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")
    parser.add_argument("--url", default=url, help="the server (default: %(default)s)")
    return parser


async def stored(js: JetStreamContext, stream: str, sequence: int) -> RawStreamMsg | None:
    """A message of a stream; None if it is gone."""
    try:
        return await js.get_msg(stream, sequence)
    except NotFoundError:
        return None


async def _quiet(_: Exception) -> None:
    """What goes wrong on the connection is told by the call that notices it."""


async def connect(url: str) -> Client:
    """Connect, or end with a sentence that helps."""
    try:
        return await nats.connect(url, allow_reconnect=False, connect_timeout=5, error_cb=_quiet)
    except (OSError, asyncio.TimeoutError, nats.errors.Error) as problem:
        raise SystemExit(f"no server at {url}: {problem or type(problem).__name__}") from None


async def fresh(js: JetStreamContext, config: StreamConfig) -> None:
    """Make a stream that is empty, whatever was there before."""
    assert config.name is not None
    with contextlib.suppress(NotFoundError):
        await js.delete_stream(config.name)
    await js.add_stream(config)


def state_file(name: str) -> Path:
    """A file that outlives the script."""
    STATE.mkdir(exist_ok=True)
    return STATE / name
