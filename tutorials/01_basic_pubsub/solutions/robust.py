"""Exercise 3: read orders as JSON, and survive those that are none."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the lab's folder

from lab import URL, connect


def describe(payload: bytes) -> str:
    """The order in words; raises ValueError with a reason if it is none."""
    try:
        fields = json.loads(payload)
        return f"{int(fields['amount'])} x {fields['item']}"
    except (KeyError, TypeError) as error:
        raise ValueError(f"not an order ({error!r})") from error


async def run(count: int) -> None:
    """Handle `count` messages, good or bad."""
    nc = await connect(URL, name="robust")
    subscription = await nc.subscribe("orders.new")
    # Twice, because nats-py's first PING overtakes the SUB that still waits in its buffer.
    await nc.flush()
    await nc.flush()
    print("Waiting for orders")
    for _ in range(count):
        msg = await subscription.next_msg(timeout=None)
        try:
            print(f"Order: {describe(msg.data)}")
        except ValueError as error:
            print(f"Bad message: {error}")
            await nc.publish("orders.bad", msg.data)
    await nc.drain()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", metavar="COUNT", type=int, help="leave after so many")
    asyncio.run(run(parser.parse_args().count))


if __name__ == "__main__":
    main()
