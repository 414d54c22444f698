"""A lock: three workers want to pack the same parcel, and take turns."""

import argparse
import asyncio

from shop import acquire, arguments, connect, fresh_bucket

BUCKET = "LOCKS"
KEY = "parcel.7"
TTL = 5  # frees the lock of a worker that has died


async def main(options: argparse.Namespace) -> None:
    """Three workers, one lock, nobody inside together with another."""
    nc = await connect(options.url)
    js = nc.jetstream()
    kv = await fresh_bucket(js, BUCKET, limit_marker_ttl=TTL)
    inside = most = 0

    async def work(name: str) -> None:
        nonlocal inside, most
        revision = await acquire(js, BUCKET, KEY, name, ttl=TTL)
        inside += 1
        most = max(most, inside)
        print(f"{name} has the lock")
        await asyncio.sleep(0.05)  # the work
        inside -= 1
        await kv.delete(KEY, last=revision)  # only if it is still ours

    await asyncio.gather(*(work(name) for name in ("ann", "bob", "cleo")))
    print(f"never more than {most} at a time")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
