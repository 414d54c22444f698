"""Exercise 3: at most two at once. A semaphore is a few locks, and any of them will do."""

import argparse
import asyncio

from nats.js import JetStreamContext
from shop import arguments, connect, create, end, fresh_bucket, is_gone

BUCKET = "TABLES"
TTL = 5
SLOTS = ("slot.1", "slot.2")


async def take(js: JetStreamContext, name: str) -> tuple[str, int]:
    """Try each slot whenever one of them may be free."""
    watcher = await (await js.key_value(BUCKET)).watch("slot.*", inactive_threshold=5)
    async for entry in watcher:
        if entry is not None and not is_gone(entry):
            continue
        for slot in SLOTS:
            revision = await create(js, BUCKET, slot, name.encode(), ttl=TTL)
            if revision is not None:
                await end(watcher)
                return slot, revision
    raise AssertionError("a watcher does not end by itself")


async def main(options: argparse.Namespace) -> None:
    """Six packers, two tables."""
    nc = await connect(options.url)
    js = nc.jetstream()
    kv = await fresh_bucket(js, BUCKET, limit_marker_ttl=TTL)
    inside = most = 0

    async def pack(name: str) -> None:
        nonlocal inside, most
        slot, revision = await take(js, name)
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.05)
        inside -= 1
        await kv.delete(slot, last=revision)

    await asyncio.gather(*(pack(f"packer-{number}") for number in range(6)))
    print(f"6 packers are done, never more than {most} at a time")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
