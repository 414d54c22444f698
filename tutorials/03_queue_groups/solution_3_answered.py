"""Exercise 3: orders are requests, and those without an answer are sent again."""

import argparse
import asyncio
import json
import signal
from collections import Counter

import nats.errors
from fleet import hire, send_home
from kitchen import DONE, ORDERS, arguments, connect
from nats.aio.client import Client
from nats.aio.msg import Msg


async def order(nc: Client, number: int) -> int:
    """Send until a cook confirms; returns how many attempts it took."""
    attempts = 0
    while True:
        attempts += 1
        try:
            await nc.request(ORDERS, json.dumps({"id": number}).encode(), timeout=6)
        except nats.errors.TimeoutError:
            continue
        return attempts


async def main(options: argparse.Namespace) -> None:
    """Kill one of two cooks in the middle, and see that every order is cooked."""
    work = ("--seconds", "0.3", "--at-once", "40")
    leaver = await hire(options.url, "leaver", *work)
    stayer = await hire(options.url, "stayer", *work)
    nc = await connect(options.url)
    dishes: Counter[int] = Counter()
    leaver_at_work = asyncio.Event()

    async def report(msg: Msg) -> None:
        body = json.loads(msg.data)
        dishes[body["id"]] += 1
        if body["cook"] == "leaver":
            leaver_at_work.set()

    await nc.subscribe(DONE, cb=report)
    requests = [asyncio.create_task(order(nc, number)) for number in range(options.count)]
    await asyncio.wait_for(leaver_at_work.wait(), timeout=30)
    await send_home(leaver, signal.SIGKILL)
    attempts = await asyncio.gather(*requests)
    await send_home(stayer)
    await nc.flush()
    await nc.drain()

    print(f"{options.count} orders, {sum(attempts)} attempts, {dishes.total()} dishes")
    lost = options.count - len(dishes)
    print(f"lost: {lost} orders" if lost else "lost: nothing")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=200, help="how many orders")
    asyncio.run(main(parser.parse_args()))
