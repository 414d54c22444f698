"""Publishes until the server dies, and remembers what was acknowledged; later checks that all of it is there."""

import argparse
import asyncio
import contextlib

import nats.errors
from depot import arguments, connect, fresh, state_file, stored
from nats.js.api import StreamConfig

NAME = "FLOOD"


async def publish(options: argparse.Namespace) -> None:
    """Publish one after the other; every acknowledged number is remembered."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await fresh(js, StreamConfig(name=NAME, subjects=["flood"]))
    acknowledged = 0
    with contextlib.suppress(nats.errors.Error, asyncio.TimeoutError, OSError):
        while not nc.is_closed and acknowledged < options.count:
            ack = await js.publish("flood", str(acknowledged + 1).encode(), timeout=2)
            acknowledged = ack.seq
            if acknowledged == 100:
                print("100 messages are stored, and more come", flush=True)
    state_file("flood").write_text(str(acknowledged))
    print("the server is gone" if nc.is_closed else f"{acknowledged} messages are stored")
    if not nc.is_closed:
        await nc.close()


async def check(options: argparse.Namespace) -> None:
    """Read back everything that was acknowledged."""
    acknowledged = int(state_file("flood").read_text())
    nc = await connect(options.url)
    js = nc.jetstream()
    missing = 0
    for sequence in range(1, acknowledged + 1):
        message = await stored(js, NAME, sequence)
        missing += message is None or message.data != str(sequence).encode()
    print("every acknowledged message is there" if not missing else f"{missing} of {acknowledged} are missing")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--check", action="store_true", help="look what is there after a crash")
    parser.add_argument("--count", type=int, default=1_000_000, help="end after so many messages")
    chosen = parser.parse_args()
    asyncio.run(check(chosen) if chosen.check else publish(chosen))
