"""Queue groups and an ordinary subscriber on one subject: who gets how much?"""

import argparse
import asyncio
from collections import Counter

from kitchen import ORDERS, arguments, connect
from nats.aio.client import Client
from nats.aio.msg import Msg

STAFF = {
    "cooks": ["ann", "bob", "cleo"],
    "bookkeepers": ["dora", "emil"],
    "": ["the board"],  # no queue group: an ordinary subscriber
}


async def join(url: str, group: str, name: str, counts: Counter[str]) -> Client:
    """A connection of its own for each member, as separate programs would have."""
    nc = await connect(url, name=name)

    async def count(_msg: Msg) -> None:
        counts[name] += 1

    await nc.subscribe(ORDERS, queue=group, cb=count)
    await nc.flush()
    return nc


async def main(options: argparse.Namespace) -> None:
    """Publish, let all members finish, and print the table."""
    counts: Counter[str] = Counter()
    members = [await join(options.url, group, name, counts) for group, names in STAFF.items() for name in names]
    publisher = await connect(options.url)
    for _ in range(options.count):
        await publisher.publish(ORDERS)
    await publisher.flush()  # now the server has them all
    for member in members:
        await member.drain()  # and now each member has its part
    await publisher.close()

    print(f"{options.count} orders published")
    for group, names in STAFF.items():
        title = f"group {group}" if group else "no group"
        print(f"{title}: {sum(counts[name] for name in names)} in all")
        for name in names:
            print(f"  {name} {counts[name]}")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many orders")
    asyncio.run(main(parser.parse_args()))
