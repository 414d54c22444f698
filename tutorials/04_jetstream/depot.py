"""What all scripts of this lab share: options, the connection, and the depot's streams."""

import argparse
import contextlib
import sys
from pathlib import Path

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StreamConfig
from nats.js.errors import NotFoundError

sys.path.append(str(Path(__file__).parents[1]))  # labkit lies beside the labs

import labkit.client

SCANS = "SCANS"
PAYMENTS = "PAYMENTS"
# Where the scripts keep what must outlive them.
STATE = Path(__file__).with_name("state")


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Options that every script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default=labkit.client.URL, help="the server (default: %(default)s)")
    return parser


async def stored(js: JetStreamContext, stream: str, sequence: int) -> RawStreamMsg | None:
    """A message of a stream; None if it is gone."""
    try:
        return await js.get_msg(stream, sequence)
    except NotFoundError:
        return None


async def connect(url: str) -> Client:
    """Connect to a server with JetStream, or end with a sentence that says what to do."""
    return await labkit.client.connect_to_jetstream(url, allow_reconnect=False, error_cb=_quiet)


async def _quiet(_: Exception) -> None:
    """What goes wrong on the connection is told by the call that notices it."""


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
