"""What a new version and a delete give back: the size of the bucket before and after."""

import argparse
import asyncio
from collections.abc import AsyncIterator

from archive import arguments, connect, fresh_store, upload
from nats.js.object_store import ObjectStore
from sample import pieces as sample

BUCKET = "SPACE"


async def pieces(seed: int) -> AsyncIterator[bytes]:
    """Eight mebibytes."""
    for piece in sample(8, seed):
        yield piece


async def show(store: ObjectStore, what: str) -> None:
    """Messages and bytes, as the stream counts them."""
    state = (await store.status()).stream_info.state
    print(f"{what}: {state.messages} messages, {state.bytes / 2**20:.1f} MiB")


async def main(options: argparse.Namespace) -> None:
    """Put, put again, delete, and remove the note."""
    nc = await connect(options.url)
    js = nc.jetstream()
    store = await fresh_store(js, BUCKET)
    await show(store, "empty")
    await upload(js, BUCKET, "film", pieces(1))
    await show(store, "one object")
    await upload(js, BUCKET, "film", pieces(2))
    await show(store, "the same name again")
    await store.delete("film")
    await show(store, "deleted")
    await js.purge_stream(f"OBJ_{BUCKET}")
    await show(store, "purged")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
