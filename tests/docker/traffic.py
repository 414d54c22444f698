"""Traffic of real clients, to see that a server in a container serves."""

from __future__ import annotations

from typing import Any

import nats


async def round_trip(url: str) -> bytes:
    """One request and its reply, over two connections."""
    server_side = await nats.connect(url)
    client_side = await nats.connect(url)
    try:

        async def reply(message: Any) -> None:
            await message.respond(message.data.upper())

        await server_side.subscribe("docker.echo", cb=reply)
        await server_side.flush()
        return bytes((await client_side.request("docker.echo", b"hello", timeout=20)).data)
    finally:
        await client_side.close()
        await server_side.close()
