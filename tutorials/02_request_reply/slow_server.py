"""Answers what a book costs, but takes its time; with `--tasks` it works on several at once."""

import argparse
import asyncio

from nats.aio.msg import Msg
from shop import PRICES, arguments, connect, euros, stop_event


class SlowServer:
    """Answers after a delay, and counts how many requests are in work together."""

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.in_work = 0
        self.most = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, msg: Msg) -> None:
        """Work on one request and answer it."""
        self.in_work += 1
        self.most = max(self.most, self.in_work)
        await asyncio.sleep(self.delay)  # stands for a database, another service, ...
        book = msg.data.decode()
        await msg.respond(f"{book} costs {euros(PRICES.get(book, 0))}".encode())
        self.in_work -= 1
        print(f"answered {book}")

    async def answer_in_task(self, msg: Msg) -> None:
        """Return at once, so that the next request can begin; the work goes on in a task."""
        task = asyncio.create_task(self.answer(msg))
        self._tasks.add(task)  # asyncio itself holds a task only weakly
        task.add_done_callback(self._tasks.discard)


async def main(options: argparse.Namespace) -> None:
    """Answer on ``shop.slow`` until Ctrl-C."""
    stop = stop_event()
    nc = await connect(options.url)
    server = SlowServer(options.delay)
    await nc.subscribe("shop.slow", cb=server.answer_in_task if options.tasks else server.answer)
    await nc.flush()
    print(f"ready on shop.slow, {options.delay} s for each answer")

    await stop.wait()
    await nc.close()
    print(f"at most {server.most} in work together")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--delay", type=float, default=0.5, help="seconds for each answer")
    parser.add_argument("--tasks", action="store_true", help="a task for each request")
    asyncio.run(main(parser.parse_args()))
