"""Exercise 1: partitions keep the orders of a table in sequence."""

import argparse
import asyncio
import json
import random
import zlib
from collections import defaultdict

from kitchen import arguments, connect
from nats.aio.msg import Msg

PARTITIONS = 4


def partition(table: str) -> int:
    """The same table, the same partition, in every process (unlike Python's own `hash`)."""
    return zlib.crc32(table.encode()) % PARTITIONS


async def main(options: argparse.Namespace) -> None:
    """One cook for each partition; several courses for each table."""
    served: dict[str, list[int]] = defaultdict(list)

    async def cook(msg: Msg) -> None:
        order = json.loads(msg.data)
        await asyncio.sleep(random.uniform(0, 0.002))  # some dishes take longer
        served[order["table"]].append(order["course"])

    cooks = []
    for number in range(PARTITIONS):
        nc = await connect(options.url)
        subject = "kitchen.table-orders" if options.mixed else f"kitchen.table-orders.{number}"
        await nc.subscribe(subject, queue="cooks", cb=cook)
        await nc.flush()
        cooks.append(nc)

    publisher = await connect(options.url)
    tables = [f"table-{number}" for number in range(1, 21)]
    for course in range(1, options.courses + 1):
        for table in tables:
            subject = "kitchen.table-orders"
            if not options.mixed:
                subject += f".{partition(table)}"
            body = {"table": table, "course": course}
            await publisher.publish(subject, json.dumps(body).encode())
    await publisher.flush()
    await asyncio.gather(*(nc.drain() for nc in cooks))
    await publisher.close()

    in_sequence = sum(courses == sorted(courses) for courses in served.values())
    wrong = len(tables) - in_sequence
    print(f"{len(tables)} tables, {options.courses} courses each")
    print(f"wrong sequence: {wrong} tables" if wrong else "wrong sequence: no table")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--courses", type=int, default=30, help="courses for each table")
    parser.add_argument("--mixed", action="store_true", help="one subject for all, for comparison")
    asyncio.run(main(parser.parse_args()))
