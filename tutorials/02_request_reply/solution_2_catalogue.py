"""Exercise 2: one question, an answer in many parts, and an empty message for the end."""

import argparse
import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg
from shop import PRICES, arguments, connect, euros, stop_event


async def serve(nc: Client) -> None:
    """Answer ``shop.catalogue`` with a message for each book."""
    stop = stop_event()

    async def catalogue(msg: Msg) -> None:
        for book, cents in sorted(PRICES.items()):
            await msg.respond(f"{book}: {euros(cents)}".encode())
        await msg.respond(b"")  # the end; without it the client could only guess

    await nc.subscribe("shop.catalogue", cb=catalogue)
    await nc.flush()
    print("catalogue: ready")
    await stop.wait()


async def ask(nc: Client) -> None:
    """Print the parts as they come."""
    inbox = nc.new_inbox()
    parts = await nc.subscribe(inbox)
    await nc.publish("shop.catalogue", reply=inbox)
    while True:
        # One patience for each part, not for the whole: a long answer may take its time.
        part = await parts.next_msg(timeout=2)
        if not part.data:
            break
        print(part.data.decode())
    await parts.unsubscribe()


async def main(options: argparse.Namespace) -> None:
    """Serve or ask."""
    nc = await connect(options.url)
    await (serve(nc) if options.role == "serve" else ask(nc))
    await nc.drain()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("role", choices=["serve", "ask"])
    asyncio.run(main(parser.parse_args()))
