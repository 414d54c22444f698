"""A second-hand dealer who offers books at a price of his own."""

import argparse
import asyncio
import json

from nats.aio.msg import Msg
from shop import arguments, connect, stop_event


async def main(options: argparse.Namespace) -> None:
    """Make an offer for every question on ``shop.offers`` until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)

    async def offer(msg: Msg) -> None:
        await asyncio.sleep(options.delay)
        await msg.respond(json.dumps({"dealer": options.name, "cents": options.cents}).encode())

    await nc.subscribe("shop.offers", cb=offer)
    await nc.flush()
    print(f"{options.name}: open")

    await stop.wait()
    await nc.close()  # not drain: an offer that comes late is worth nothing


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("name")
    parser.add_argument("cents", type=int, help="the price")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds to think about it")
    asyncio.run(main(parser.parse_args()))
