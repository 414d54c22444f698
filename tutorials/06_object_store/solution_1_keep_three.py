"""Exercise 1: keeps the last three versions of a report, and a link to the newest."""

import argparse
import asyncio
import re
from collections.abc import AsyncIterator

from archive import arguments, connect, download, fresh_store, new_nuid, objects, put_info, upload
from nats.js import JetStreamContext, api
from nats.js.object_store import ObjectStore

BUCKET = "VERSIONS"
KEPT = 3


async def one(data: bytes) -> AsyncIterator[bytes]:
    """Bytes as pieces."""
    yield data


def number(name: str) -> int:
    """The version in a name; 0 for other objects."""
    match = re.fullmatch(r"report-v(\d+)", name)
    return int(match[1]) if match else 0


async def publish(js: JetStreamContext, store: ObjectStore, data: bytes) -> str:
    """The object first, then the link, then what is too old: a reader finds a whole report at any time."""
    versions = sorted(filter(None, (number(info.name) for info in await objects(store))))
    name = f"report-v{versions[-1] + 1 if versions else 1}"
    await upload(js, BUCKET, name, one(data))
    options = api.ObjectMetaOptions(link=api.ObjectLink(bucket=BUCKET, name=name))
    await put_info(js, api.ObjectInfo(name="latest", bucket=BUCKET, nuid=new_nuid(), options=options))
    for old in versions[: -(KEPT - 1)]:
        await store.delete(f"report-v{old}")
    return name


async def main(options: argparse.Namespace) -> None:
    """Five versions."""
    nc = await connect(options.url)
    js = nc.jetstream()
    store = await fresh_store(js, BUCKET)
    for version in range(1, 6):
        await publish(js, store, f"the report, number {version}".encode())
    print(", ".join(info.name for info in await objects(store)))
    print("latest: " + b"".join([chunk async for chunk in download(js, BUCKET, "latest")]).decode())
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
