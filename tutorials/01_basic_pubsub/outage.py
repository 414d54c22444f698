"""Go on publishing while the server is away. You kill it and start it; this script watches."""

import argparse
import asyncio

from lab import URL, connect
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import OutboundBufferLimitError


async def show_next(subscription: Subscription) -> None:
    """Wait for a message, and print it."""
    msg = await subscription.next_msg(timeout=10)
    print(f"  received: {msg.data.decode()}")


async def fits(nc: Client, number: int) -> bool:
    """Publish while the server is away; tells whether the buffer took it."""
    try:
        await nc.publish("ticks", f"during the outage, {number}".encode())
    except OutboundBufferLimitError as error:
        print(f"Message {number}: {error}")
        return False
    return True


async def experiment(buffer: int) -> None:
    """Publish before, during and after an outage."""
    away = asyncio.Event()
    back = asyncio.Event()

    async def on_error(error: Exception) -> None:
        """Failed attempts to reconnect end up here."""

    async def on_disconnected() -> None:
        away.set()

    async def on_reconnected() -> None:
        back.set()

    nc = await connect(
        URL,
        name="outage",
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        pending_size=buffer,
    )
    subscription = await nc.subscribe("ticks")
    await nc.publish("ticks", b"before the outage")
    await show_next(subscription)

    print("Kill the server now")
    await away.wait()
    kept = 0
    for number in (1, 2, 3):
        kept += await fits(nc, number)
    print(f"The server is away; {kept} messages wait in our buffer")

    print("Start the server again now")
    await back.wait()
    await nc.publish("ticks", b"after the outage")
    for _ in range(kept + 1):
        await show_next(subscription)
    print(f"Reconnected {nc.stats['reconnects']} time")
    await nc.close()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--buffer", type=int, default=2 * 1024 * 1024, help="pending_size in bytes (%(default)s)")
    asyncio.run(experiment(parser.parse_args().buffer))


if __name__ == "__main__":
    main()
