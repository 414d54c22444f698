"""Places orders; with `--wait` it waits until all of them are done and says who cooked."""

import argparse
import asyncio
import json
from collections import Counter

from kitchen import DONE, ORDERS, arguments, connect
from nats.aio.msg import Msg


async def main(options: argparse.Namespace) -> None:
    """Publish the orders, and collect the reports."""
    nc = await connect(options.url)
    cooks: Counter[str] = Counter()
    open_orders = set(range(1, options.count + 1))
    all_done = asyncio.Event()

    async def done(msg: Msg) -> None:
        report = json.loads(msg.data)
        cooks[report["cook"]] += 1
        open_orders.discard(report["id"])
        if not open_orders:
            all_done.set()

    await nc.subscribe(DONE, cb=done)
    for number in range(1, options.count + 1):
        await nc.publish(ORDERS, json.dumps({"id": number}).encode())
    await nc.flush()
    print(f"{options.count} orders placed")

    if options.wait:
        await asyncio.wait_for(all_done.wait(), timeout=options.timeout)
        print(f"{cooks.total()} dishes served")
        for cook, dishes in sorted(cooks.items()):
            print(f"  {cook} cooked {dishes}")
    await nc.close()


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=3, help="how many orders")
    parser.add_argument("--wait", action="store_true", help="wait until all are done")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait at most")
    asyncio.run(main(parser.parse_args()))
