"""Exercise 1: print COUNT messages on SUBJECT, then leave by ourselves."""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the lab's folder

from lab import URL, connect


async def take(subject: str, count: int) -> None:
    """The server itself ends the subscription after `count` messages."""
    nc = await connect(URL, name="take")
    subscription = await nc.subscribe(subject)
    await subscription.unsubscribe(limit=count)
    # Twice, because nats-py's first PING overtakes the SUB that still waits in its buffer.
    await nc.flush()
    await nc.flush()
    print(f"Waiting for {count} on {subject}")
    async for msg in subscription.messages:
        print(f"{msg.subject}: {msg.data.decode()}")
    await nc.close()
    print("Enough")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", metavar="SUBJECT")
    parser.add_argument("count", metavar="COUNT", type=int)
    arguments = parser.parse_args()
    asyncio.run(take(arguments.subject, arguments.count))


if __name__ == "__main__":
    main()
