"""Leave while messages still wait to be handled: with close, and with drain."""

import argparse
import asyncio

from lab import URL, connect
from nats.aio.msg import Msg


async def experiment(how: str) -> None:
    """Let five messages wait behind a busy handler, and leave."""
    handled = 0
    work_done = asyncio.Event()  # stands for slow work, such as a database

    async def handle(_msg: Msg) -> None:
        nonlocal handled
        await work_done.wait()
        handled += 1

    nc = await connect(URL, name="leaver")
    subscription = await nc.subscribe("jobs", cb=handle)
    for number in range(5):
        await nc.publish("jobs", str(number).encode())
    await nc.flush()
    await nc.flush()  # all five have come back; the handler is busy with the first
    print(f"{subscription.delivered} messages are here, {handled} handled")

    if how == "close":
        await nc.close()  # does not wait for anybody
        work_done.set()  # so this comes too late
    else:
        draining = asyncio.create_task(nc.drain())
        work_done.set()  # the work gets done while drain waits for it
        await draining
    print(f"After {how}: {handled} handled, {5 - handled} lost")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=("close", "drain"))
    asyncio.run(experiment(parser.parse_args().how))


if __name__ == "__main__":
    main()
