"""Exercise 2: finds and removes chunks that no object owns, as a client leaves them that dies during an upload."""

import argparse
import asyncio

from archive import arguments, connect, fresh_store, objects, upload
from nats.js import JetStreamContext
from nats.js.object_store import ObjectStore
from solution_1_keep_three import one

BUCKET = "ORPHANS"


async def orphans(js: JetStreamContext, store: ObjectStore) -> dict[str, int]:
    """Subjects of chunks without metadata, and how many chunks they have.

    First the chunks, then the objects: an upload that ends in between is no orphan. One that still goes on looks
    like one, so in earnest spare chunks that are younger than the longest upload.
    """
    state = (await js.stream_info(f"OBJ_{BUCKET}", subjects_filter=f"$O.{BUCKET}.C.>")).state
    owned = {f"$O.{BUCKET}.C.{info.nuid}" for info in await objects(store)}
    return {subject: count for subject, count in (state.subjects or {}).items() if subject not in owned}


async def main(options: argparse.Namespace) -> None:
    """One whole object, and the remains of another."""
    nc = await connect(options.url)
    js = nc.jetstream()
    store = await fresh_store(js, BUCKET)
    await upload(js, BUCKET, "whole", one(b"all of it"))
    for _ in range(3):
        await js.publish(f"$O.{BUCKET}.C.DIEDONTHEWAY", b"chunk")
    for subject, count in (await orphans(js, store)).items():
        await js.purge_stream(f"OBJ_{BUCKET}", subject=subject)
        print(f"removed {count} chunks that no object owns")
    state = (await store.status()).stream_info.state
    print(f"{state.messages} messages are left: a chunk, and its metadata")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
