"""Three knobs, measured: how often to flush, how much to put in a message, how much at once."""

import argparse
import asyncio
import json
import time

from fleet import hire, send_home
from kitchen import arguments, connect
from nats.aio.client import Client
from scale import orders_per_second


async def publish_rate(nc: Client, count: int, *, flush_each: bool, bundle: int) -> float:
    """Orders per second from the publisher to the server, `bundle` orders in a message."""
    start = time.perf_counter()
    for first in range(0, count, bundle):
        orders = [{"id": number} for number in range(first, min(first + bundle, count))]
        await nc.publish("tuning.orders", json.dumps(orders).encode())
        if flush_each:
            await nc.flush()
    await nc.flush()
    return count / (time.perf_counter() - start)


async def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    nc = await connect(options.url)
    print("publisher")
    for title, flush_each, bundle in (
        ("a flush after each order", True, 1),
        ("one flush at the end", False, 1),
        ("100 orders in a message", False, 100),
    ):
        rate = await publish_rate(nc, options.count, flush_each=flush_each, bundle=bundle)
        print(f"  {title}: {rate:.0f} orders/s")

    print("one worker, 5 ms of waiting for each order")
    for at_once in (1, 10, 100):
        cook = await hire(options.url, "cook", "--seconds", "0.005", "--at-once", str(at_once))
        rate = await orders_per_second(nc, options.count // 10)
        await send_home(cook)
        print(f"  {at_once} at once: {rate:.0f} orders/s")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=5000, help="how many orders")
    asyncio.run(main(parser.parse_args()))
