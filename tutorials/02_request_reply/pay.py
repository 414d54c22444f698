"""Pays 9.90 EUR, with retries; `--request-id` makes that safe."""

import argparse
import asyncio

from retry import call_with_retry
from shop import arguments, connect, euros


async def main(options: argparse.Namespace) -> None:
    """Pay once; or so we hope."""
    nc = await connect(options.url)
    # The same id for all attempts: it names what the customer wants, not the message.
    headers = {"Request-Id": options.request_id} if options.request_id else None
    answer = await call_with_retry(nc, "bank.charge", {"cents": 990}, headers=headers)
    print(f"paid {euros(answer['charged'])}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--request-id", help="names this payment, for example order-17")
    asyncio.run(main(parser.parse_args()))
