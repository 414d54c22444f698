"""Print every message on SUBJECT until Ctrl-C."""

import argparse
import asyncio
import signal

from lab import URL, connect
from nats.aio.msg import Msg


async def subscribe(subject: str, name: str) -> None:
    """Listen until somebody asks us to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def show(msg: Msg) -> None:
        print(f"{msg.subject}: {msg.data.decode()}")

    nc = await connect(URL, name=name)
    await nc.subscribe(subject, cb=show)
    # The server has answered, so it knows the subscription: from here on nothing is missed.
    # Twice, because nats-py's first PING overtakes the SUB that still waits in its buffer.
    await nc.flush()
    await nc.flush()
    print(f"Listening on {subject}")

    await stop.wait()
    await nc.drain()
    print("Drained")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", metavar="SUBJECT", help="may hold wildcards: 'greet.*'")
    parser.add_argument("--name", default="subscriber", help="how the server lists us")
    arguments = parser.parse_args()
    asyncio.run(subscribe(arguments.subject, arguments.name))


if __name__ == "__main__":
    main()
