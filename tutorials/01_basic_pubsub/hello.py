"""Connect, and tell what the server says about itself."""

import asyncio

from lab import URL, connect


async def main() -> None:
    """Connect and leave again."""
    nc = await connect(URL, name="hello")
    print(f"Connected to {URL}")
    print(f"It speaks NATS as version {nc.connected_server_version}")
    print(f"A message may carry {nc.max_payload} bytes")
    print(f"To this server we are client number {nc.client_id}")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main())
