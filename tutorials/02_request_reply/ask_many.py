"""Asks for several books: one after the other, or all at once."""

import argparse
import asyncio
import time

from nats.aio.client import Client
from shop import PRICES, arguments, connect


async def one_by_one(nc: Client, books: list[str]) -> list[str]:
    """Synchronous in spirit: the next question waits for the answer to the last one."""
    answers = []
    for book in books:
        answer = await nc.request("shop.slow", book.encode(), timeout=10)
        answers.append(answer.data.decode())
    return answers


async def all_at_once(nc: Client, books: list[str]) -> list[str]:
    """Asynchronous: all questions go out, then we wait for all answers."""
    requests = [nc.request("shop.slow", book.encode(), timeout=10) for book in books]
    return [answer.data.decode() for answer in await asyncio.gather(*requests)]


async def main(options: argparse.Namespace) -> None:
    """Ask for every book that we sell."""
    nc = await connect(options.url)
    start = time.perf_counter()
    ask = all_at_once if options.at_once else one_by_one
    for line in await ask(nc, sorted(PRICES)):
        print(line)
    print(f"{len(PRICES)} answers in {time.perf_counter() - start:.1f} s")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--at-once", action="store_true", help="don't wait between questions")
    asyncio.run(main(parser.parse_args()))
