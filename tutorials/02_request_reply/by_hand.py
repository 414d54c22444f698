"""Makes a request without `nc.request`: an inbox, a publication that names it, and a wait."""

import argparse
import asyncio

from shop import arguments, connect


async def main(options: argparse.Namespace) -> None:
    """Ask for one book and show all that comes back."""
    nc = await connect(options.url)
    inbox = nc.new_inbox()
    answers = await nc.subscribe(inbox)
    await answers.unsubscribe(limit=1)  # forget the inbox after one message

    await nc.publish("shop.price", options.book.encode(), reply=inbox)
    answer = await answers.next_msg(timeout=5)

    print(f"status: {(answer.headers or {}).get('Status', '-')}")
    print(f"data:   {answer.data.decode()!r}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("book")
    asyncio.run(main(parser.parse_args()))
