"""Publish a message of exactly max_payload bytes, then one byte more."""

import asyncio

from lab import URL, connect
from nats.aio.client import Client
from nats.errors import MaxPayloadError


async def attempt(nc: Client, size: int) -> None:
    """Send so many bytes to ourselves."""
    subscription = await nc.subscribe("big")
    try:
        await nc.publish("big", bytes(size))
    except MaxPayloadError as error:
        print(f"{size} bytes: {error}")
    else:
        msg = await subscription.next_msg(timeout=10)
        print(f"{size} bytes: {len(msg.data)} arrived")
    await subscription.unsubscribe()


async def main() -> None:
    """Find the border."""
    nc = await connect(URL, name="too-big")
    await attempt(nc, nc.max_payload)
    await attempt(nc, nc.max_payload + 1)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
