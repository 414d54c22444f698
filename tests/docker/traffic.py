"""Traffic of real clients, to check that a server in a container works."""

from __future__ import annotations

from typing import Any

import nats


async def round_trip(url: str) -> bytes:
    """Sends a request to a responder on another connection, and returns the reply."""
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
