"""How evenly does a queue group share the work, and does it spare a slow member?"""

import argparse
import asyncio

from kitchen import ORDERS, arguments, connect
from nats.aio.client import Client
from nats.aio.msg import Msg


class Member:
    """Counts its orders; a slow one needs a while for each."""

    def __init__(self, nc: Client, name: str, seconds: float) -> None:
        self.nc = nc
        self.name = name
        self.seconds = seconds
        self.count = 0
        self.first: list[int] = []

    async def join(self) -> None:
        """Join the group."""
        await self.nc.subscribe(ORDERS, queue="cooks", cb=self._take)
        await self.nc.flush()

    async def _take(self, msg: Msg) -> None:
        self.count += 1
        if len(self.first) < 6:
            self.first.append(int(msg.data))
        if self.seconds:
            await asyncio.sleep(self.seconds)


async def main(options: argparse.Namespace) -> None:
    """Publish numbered orders and compare the shares."""
    names = [f"cook-{number}" for number in range(1, options.members + 1)]
    members = [Member(await connect(options.url), name, 0.0) for name in names]
    members[0].seconds = options.slow
    for member in members:
        await member.join()

    publisher = await connect(options.url)
    for number in range(1, options.count + 1):
        await publisher.publish(ORDERS, str(number).encode())
    await publisher.flush()
    await asyncio.gather(*(member.nc.drain() for member in members))
    await publisher.close()

    for member in members:
        percent = 100 * member.count / options.count
        bar = "#" * round(percent)
        slow = " (slow)" if member.seconds else ""
        print(f"{member.name} {bar} {percent:.1f} %{slow}, first {member.first}")
    even = 100 / options.members
    fair = all(abs(100 * one.count / options.count - even) < 5 for one in members)
    print(f"every share within 5 points of {even:.0f} %: {'yes' if fair else 'no'}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--members", type=int, default=4, help="how many cooks")
    parser.add_argument("--count", type=int, default=4000, help="how many orders")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds cook-1 needs for an order")
    asyncio.run(main(parser.parse_args()))
