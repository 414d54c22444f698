"""Connect, and tell what the server says about itself."""

import asyncio
import os

import nats

URL = os.environ.get("NATS_URL", "nats://127.0.0.1:4222")


async def main() -> None:
    """Connect and leave again."""
    nc = await nats.connect(URL, name="hello")
    print(f"Connected to {URL}")
    print(f"It speaks NATS as version {nc.connected_server_version}")
    print(f"A message may carry {nc.max_payload} bytes")
    print(f"To this server we are client number {nc.client_id}")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
