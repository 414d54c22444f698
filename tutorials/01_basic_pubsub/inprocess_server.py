"""A server inside this very process: start it, use it, and it is gone at the end."""

import asyncio

import nats

import stonechat


async def main() -> None:
    """Start, connect, send a message to ourselves."""
    async with stonechat.Server(port=0) as server:  # port 0: any free one
        nc = await nats.connect(server.url)
        subscription = await nc.subscribe("greet.*")
        await nc.publish("greet.ann", b"hello from inside")
        msg = await subscription.next_msg(timeout=10)
        print(f"{msg.subject}: {msg.data.decode()}")
        await nc.close()
    print("The server is gone")


if __name__ == "__main__":
    asyncio.run(main())
