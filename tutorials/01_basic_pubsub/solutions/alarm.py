"""Exercise 5: listen to all thermometers, and raise an alarm for rooms that are too warm."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # the lab's folder

from lab import URL, connect
from nats.aio.msg import Msg


async def watch(limit: float) -> None:
    """Publish to alarms.ROOM for each measurement above the limit."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def on_error(error: Exception) -> None:
        print(f"Skipped: {error}")

    nc = await connect(URL, name="alarm", error_cb=on_error)

    async def check(msg: Msg) -> None:
        room = msg.subject.split(".")[1]
        celsius = float(json.loads(msg.data)["celsius"])
        if celsius > limit:
            await nc.publish(f"alarms.{room}", f"{celsius} degrees".encode())

    await nc.subscribe("sensors.*.temperature", cb=check)
    # Twice, because nats-py's first PING overtakes the SUB that still waits in its buffer.
    await nc.flush()
    await nc.flush()
    print(f"Watching, limit {limit}")
    await stop.wait()
    await nc.drain()
    print("Drained")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=float, default=30.0, help="degrees (%(default)s)")
    asyncio.run(watch(parser.parse_args().limit))


if __name__ == "__main__":
    main()
