"""Sends more than a slow worker may keep, and shows what becomes of the rest."""

import argparse
import asyncio

from kitchen import ORDERS, arguments, connect
from nats.aio.msg import Msg


async def main(options: argparse.Namespace) -> None:
    """Publish a burst to a worker with a small memory."""
    complaints: list[Exception] = []
    cooked = 0
    burst_is_over = asyncio.Event()

    async def complain(error: Exception) -> None:
        complaints.append(error)

    async def cook(_msg: Msg) -> None:
        nonlocal cooked
        await burst_is_over.wait()  # a cook who is still busy with the first order
        cooked += 1

    worker = await connect(options.url, error_cb=complain)
    await worker.subscribe(ORDERS, queue="cooks", cb=cook, pending_msgs_limit=options.limit)
    await worker.flush()

    publisher = await connect(options.url)
    for _ in range(options.count):
        await publisher.publish(ORDERS, b"soup")
    await publisher.flush()
    await worker.flush()  # the worker has been given everything
    burst_is_over.set()
    await worker.drain()
    await publisher.close()

    print(f"of {options.count} orders {cooked} were cooked and {len(complaints)} thrown away")
    print(f"all accounted for: {'yes' if cooked + len(complaints) == options.count else 'no'}")
    if complaints:
        print(f"error: {type(complaints[0]).__name__}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many orders")
    parser.add_argument("--limit", type=int, default=100, help="the worker keeps so many at most")
    asyncio.run(main(parser.parse_args()))
