"""Exercise 1: undo. Gives a key the value that it had before, unless somebody changes it meanwhile."""

import argparse
import asyncio

from nats.js.kv import KeyValue
from shop import arguments, connect, fresh_bucket, is_gone, text


async def undo(kv: KeyValue, key: str) -> int:
    """Write the previous value as a new one: history only ever grows at its end."""
    *_, before, now = await kv.history(key)
    if is_gone(before):
        raise ValueError(f"{key} had no value before")
    return await kv.update(key, before.value or b"", last=now.revision)


async def main(options: argparse.Namespace) -> None:
    """Two values, and back."""
    nc = await connect(options.url)
    kv = await fresh_bucket(nc.jetstream(), "UNDO", history=10)
    await kv.put("banner", b"Summer sale")
    await kv.put("banner", b"Sumer sail")
    await undo(kv, "banner")
    for entry in await kv.history("banner"):
        print(f"#{entry.revision} {text(entry)}")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
