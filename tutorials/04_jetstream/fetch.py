"""Reads with a pull consumer: asks for some messages, acknowledges them, and goes."""

import argparse
import asyncio

import nats.errors
from depot import SCANS, arguments, connect


async def main(options: argparse.Namespace) -> None:
    """Fetch once."""
    nc = await connect(options.url)
    js = nc.jetstream()
    board = await js.pull_subscribe(options.filter, durable=options.name, stream=SCANS)
    try:
        messages = await board.fetch(options.count, timeout=options.wait)
    except nats.errors.TimeoutError:
        messages = []
    for message in messages:
        sequence = message.metadata.sequence.stream
        tries = message.metadata.num_delivered
        again = f" (delivery {tries})" if tries and tries > 1 else ""
        print(f"{options.name}: #{sequence} {message.data.decode()}{again}")
        if not options.no_ack:
            await message.ack_sync()
    info = await board.consumer_info()
    print(f"{options.name}: {info.num_pending} to come, {info.num_ack_pending} not acknowledged")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--name", default="board", help="the durable consumer (default: %(default)s)")
    parser.add_argument("--filter", default="scans.>", help="which subjects (default: %(default)s)")
    parser.add_argument("--count", type=int, default=3, help="how many messages at most")
    parser.add_argument("--wait", type=float, default=1, help="how long to wait for them, in seconds")
    parser.add_argument("--no-ack", action="store_true", help="do not acknowledge")
    asyncio.run(main(parser.parse_args()))
