"""Sends questions, does something else, and takes the answers as they come."""

import argparse
import asyncio

from nats.aio.msg import Msg
from shop import PRICES, arguments, connect


async def main(options: argparse.Namespace) -> None:
    """Ask without waiting; a callback receives all answers."""
    nc = await connect(options.url)
    inbox = nc.new_inbox()
    open_questions = dict(enumerate(sorted(PRICES), start=1))
    all_answered = asyncio.Event()

    async def take(msg: Msg) -> None:
        number = int(msg.subject.removeprefix(f"{inbox}."))  # which question is this for?
        book = open_questions.pop(number)
        print(f"answer to question {number} ({book}): {msg.data.decode()}")
        if not open_questions:
            all_answered.set()

    await nc.subscribe(f"{inbox}.*", cb=take)
    for number, book in list(open_questions.items()):
        await nc.publish("shop.slow", book.encode(), reply=f"{inbox}.{number}")
    print(f"{len(open_questions)} questions sent; time for other work")

    await asyncio.wait_for(all_answered.wait(), timeout=10)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
