"""A subscriber that tells when it loses the server and when it has it back."""

import argparse
import asyncio
import signal

from lab import URL, connect
from nats.aio.msg import Msg


async def subscribe(subject: str) -> None:
    """Listen until somebody asks us to stop, through all outages."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def show(msg: Msg) -> None:
        print(f"{msg.subject}: {msg.data.decode()}")

    async def on_error(error: Exception) -> None:
        """Every failed attempt ends up here; we only want to know how it ends."""

    async def on_disconnected() -> None:
        print("Lost the server" if not stop.is_set() else "Said goodbye")

    async def on_reconnected() -> None:
        print("Have it back")

    nc = await connect(
        URL,
        name="resilient",
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
    )
    await nc.subscribe(subject, cb=show)
    # Twice, because nats-py's first PING overtakes the SUB that still waits in its buffer.
    await nc.flush()
    await nc.flush()
    print(f"Listening on {subject}")
    await stop.wait()
    await nc.drain()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", metavar="SUBJECT", help="may hold wildcards: 'greet.*'")
    asyncio.run(subscribe(parser.parse_args().subject))


if __name__ == "__main__":
    main()
