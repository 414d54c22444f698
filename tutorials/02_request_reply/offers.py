"""Asks all dealers for an offer and prints them, the best first."""

import argparse
import asyncio
import json

from scatter import gather_answers
from shop import arguments, connect, euros


async def main(options: argparse.Namespace) -> None:
    """Ask once, gather, compare."""
    nc = await connect(options.url)
    answers = await gather_answers(
        nc,
        "shop.offers",
        options.book.encode(),
        longest=options.longest,
        quiet=options.quiet,
        enough=options.enough,
    )
    offers = sorted((json.loads(msg.data) for msg in answers), key=lambda offer: offer["cents"])
    print(f"{len(offers)} offers for {options.book}")
    for offer in offers:
        print(f"  {euros(offer['cents'])} from {offer['dealer']}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("book")
    parser.add_argument("--longest", type=float, default=2.0, help="seconds to wait at most")
    parser.add_argument("--quiet", type=float, help="stop when it was quiet for so many seconds")
    parser.add_argument("--enough", type=int, help="stop after so many offers")
    asyncio.run(main(parser.parse_args()))
