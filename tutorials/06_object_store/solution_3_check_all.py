"""Exercise 3: reads every object of a bucket and compares its digest, before somebody needs it."""

import argparse
import asyncio

from archive import BrokenObjectError, arguments, connect, download, fresh_store, objects, upload
from nats.js import JetStreamContext
from nats.js.object_store import ObjectStore
from solution_1_keep_three import one

BUCKET = "CHECKED"


async def broken(js: JetStreamContext, store: ObjectStore) -> list[str]:
    """What is wrong, a sentence for each object that is."""
    sentences = []
    for info in await objects(store):
        try:
            async for _ in download(js, BUCKET, info.name):
                pass
        except BrokenObjectError as error:  # noqa: PERF203 - the others are read all the same
            sentences.append(str(error))
    return sentences


async def main(options: argparse.Namespace) -> None:
    """Three objects; one loses a byte, another gets a wrong one."""
    nc = await connect(options.url)
    js = nc.jetstream()
    store = await fresh_store(js, BUCKET)
    for name in ("good", "short", "wrong"):
        info = await upload(js, BUCKET, name, one(b"0123456789"))
        if name != "good":
            await js.purge_stream(f"OBJ_{BUCKET}", subject=f"$O.{BUCKET}.C.{info.nuid}")
            await js.publish(f"$O.{BUCKET}.C.{info.nuid}", b"012345678" if name == "short" else b"0123x56789")
    print("\n".join(await broken(js, store)))
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
