"""Exercise 3: two clerks change the same order; nobody overwrites what he has not read."""

import argparse
import asyncio

from depot import arguments, connect, fresh
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import APIError

NAME = "ORDERS"
EXPECTED = "Nats-Expected-Last-Subject-Sequence"


async def add(js: JetStreamContext, clerk: str, parcels: int) -> int:
    """Read, add, write; and again from the start if somebody was faster. Answers the number of attempts."""
    attempts = 0
    while True:
        attempts += 1
        last = await js.get_last_msg(NAME, "orders.1")
        total = int(last.data or b"0") + parcels
        await asyncio.sleep(0)  # so that the other one gets a word in
        try:
            await js.publish("orders.1", str(total).encode(), headers={EXPECTED: str(last.seq), "Clerk": clerk})
        except APIError:
            continue
        return attempts


async def main(options: argparse.Namespace) -> None:
    """Each of the two adds one parcel, fifty times."""
    nc = await connect(options.url)
    js = nc.jetstream()
    await fresh(js, StreamConfig(name=NAME, subjects=["orders.*"], max_msgs_per_subject=5))
    await js.publish("orders.1", b"0")

    async def work(clerk: str) -> int:
        return sum([await add(js, clerk, 1) for _ in range(50)])

    attempts = await asyncio.gather(work("ann"), work("bob"))
    total = (await js.get_last_msg(NAME, "orders.1")).data or b""
    print(f"100 parcels added in {sum(attempts)} attempts")
    print(f"the order says {total.decode()}")
    await js.delete_stream(NAME)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
