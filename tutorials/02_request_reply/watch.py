"""Listens in: shows every message of the shop, and every answer, with its reply subject."""

import argparse
import asyncio

from nats.aio.msg import Msg
from shop import arguments, connect, stop_event


async def main(options: argparse.Namespace) -> None:
    """Print what passes until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)

    async def show(msg: Msg) -> None:
        print(f"subject: {msg.subject}")
        print(f"  reply: {msg.reply or '-'}")
        print(f"  data:  {msg.data.decode()}")

    for subject in options.subjects:
        await nc.subscribe(subject, cb=show)
    await nc.flush()
    print(f"watching {' '.join(options.subjects)}")

    await stop.wait()
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("subjects", nargs="*", default=["shop.>", "_INBOX.>"], help="what to watch")
    asyncio.run(main(parser.parse_args()))
