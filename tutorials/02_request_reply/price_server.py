"""Answers what a book costs: the smallest responder there is."""

import argparse
import asyncio

from nats.aio.msg import Msg
from shop import PRICES, arguments, connect, euros, stop_event


async def main(options: argparse.Namespace) -> None:
    """Answer questions on ``shop.price`` until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url, name=options.name)

    async def answer(msg: Msg) -> None:
        book = msg.data.decode()
        print(f"{options.name}: asked for {book}")
        price = PRICES.get(book)
        text = "no such book" if price is None else f"{book} costs {euros(price)}"
        await msg.respond(f"{text} (says {options.name})".encode())

    await nc.subscribe("shop.price", cb=answer)
    await nc.flush()  # the server has seen our subscription: from now on "ready" is true
    print(f"{options.name}: ready on shop.price")

    await stop.wait()
    await nc.drain()
    print(f"{options.name}: closed")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--name", default="anna", help="who answers")
    asyncio.run(main(parser.parse_args()))
