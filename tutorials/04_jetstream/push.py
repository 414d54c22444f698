"""Reads with a push consumer: the server sends to a subject, the script listens there."""

import argparse
import asyncio

from depot import SCANS, arguments, connect
from nats.aio.msg import Msg


async def main(options: argparse.Namespace) -> None:
    """Listen until so many messages have come."""
    nc = await connect(options.url)
    js = nc.jetstream()
    enough = asyncio.Event()
    seen = 0

    async def take(message: Msg) -> None:
        nonlocal seen
        seen += 1
        print(f"{options.name}: #{message.metadata.sequence.stream} {message.data.decode()}", flush=True)
        await message.ack()
        if seen == options.count:
            enough.set()

    # What comes while nobody listens is sent when somebody does: so it does not matter who is there first.
    print(f"{options.name}: listening", flush=True)
    await js.subscribe(options.filter, stream=SCANS, durable=options.name, cb=take, manual_ack=True)
    await enough.wait()
    await nc.drain()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--name", default="display", help="the durable consumer (default: %(default)s)")
    parser.add_argument("--filter", default="scans.>", help="which subjects (default: %(default)s)")
    parser.add_argument("--count", type=int, default=3, help="end after so many messages")
    asyncio.run(main(parser.parse_args()))
