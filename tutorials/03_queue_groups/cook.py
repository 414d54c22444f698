"""A cook: takes orders, works on each for a while, and reports it as done."""

import argparse
import asyncio
import hashlib
import json

import nats.errors
from kitchen import DONE, ORDERS, arguments, connect, stop_event
from nats.aio.client import Client
from nats.aio.msg import Msg


class Cook:
    """Works on at most `at_once` orders together."""

    def __init__(self, nc: Client, options: argparse.Namespace) -> None:
        self.nc = nc
        self.options = options
        self.cooked = 0
        self._free_hands = asyncio.Semaphore(options.at_once)
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, msg: Msg) -> None:
        """Begin with an order as soon as a hand is free; the others wait in the subscription."""
        await self._free_hands.acquire()
        task = asyncio.create_task(self._cook(msg))
        self._tasks.add(task)
        task.add_done_callback(self._put_down)

    def _put_down(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free_hands.release()

    async def _cook(self, msg: Msg) -> None:
        order = json.loads(msg.data)
        if self.options.work == "wait":
            await asyncio.sleep(self.options.seconds)  # as for a database or another service
        else:
            compute()
        report = json.dumps({"id": order["id"], "cook": self.options.name}).encode()
        try:
            await self.nc.publish(DONE, report)
            if msg.reply:
                await msg.respond(report)
        except (nats.errors.ConnectionClosedError, nats.errors.ConnectionDrainingError):
            return  # the dish is ready, and nobody will ever know
        self.cooked += 1
        if not self.options.quiet:
            print(f"{self.options.name}: cooked order {order['id']}")

    async def finish(self) -> None:
        """Wait for the orders in work."""
        await asyncio.gather(*self._tasks)


def compute() -> None:
    """About 5 ms of work for the processor, as for scaling a picture."""
    hashlib.pbkdf2_hmac("sha256", b"onions", b"salt", 16_000)


async def main(options: argparse.Namespace) -> None:
    """Cook until told to stop, then go home in the chosen manner."""
    stop = stop_event()

    async def closed() -> None:
        stop.set()  # a worker whose connection is gone for good must not hang about

    nc = await connect(options.url, name=options.name, closed_cb=closed)
    cook = Cook(nc, options)
    orders = await nc.subscribe(options.subject, queue=options.queue, cb=cook.take)
    await nc.flush()
    print(f"{options.name}: ready")

    await stop.wait()
    if nc.is_closed:
        print(f"{options.name}: the server is gone")
    elif options.stop == "finish":
        await orders.drain()  # type: ignore[no-untyped-call]  # no new orders, take the waiting ones
        await cook.finish()  # our own tasks: nats-py doesn't know of them
        await nc.drain()  # send what we have to say, then close
    elif options.stop == "drain":
        await nc.drain()
    else:
        await nc.close()
    print(f"{options.name}: cooked {cook.cooked} orders")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--name", default="ann", help="who cooks")
    parser.add_argument("--queue", default="", help="the queue group; none by default")
    parser.add_argument("--subject", default=ORDERS, help="where the orders come in")
    parser.add_argument("--work", choices=["wait", "compute"], default="wait", help="kind of work")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long to wait for an order")
    parser.add_argument("--at-once", type=int, default=1, help="work on so many orders together")
    parser.add_argument("--stop", choices=["finish", "drain", "close"], default="finish")
    parser.add_argument("--quiet", action="store_true", help="don't print each order")
    asyncio.run(main(parser.parse_args()))
