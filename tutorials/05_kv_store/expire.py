"""Values that expire: by bucket and by key, with and without markers. What does a watcher hear?"""

import argparse
import asyncio

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from shop import arguments, connect, end, fresh_bucket

BUCKET_TTL = 1
KEY_TTL = 1
MARKER_TTL = 1


async def value(kv: KeyValue, key: str) -> bytes:
    """The value of a key. While its marker is there, nats-py (2.16) answers None instead of an error."""
    try:
        return (await kv.get(key)).value or b""
    except nats.js.errors.KeyNotFoundError:
        return b""


async def gone(kv: KeyValue) -> None:
    """Return when the key has no value. Without a marker nobody says so: only asking helps."""
    while await value(kv, "key"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def attempt(js: JetStreamContext, title: str, *, ttl: int | None, key_ttl: int | None, markers: bool) -> str:
    """One way to expire, and what a watcher hears of it."""
    name = "EXPIRE_" + "".join(filter(str.isalnum, title.title()))
    kv = await fresh_bucket(js, name, ttl=ttl, limit_marker_ttl=MARKER_TTL if markers else None)
    watcher = await kv.watchall()
    assert await anext(watcher) is None  # the bucket is empty, and the watch has begun
    heard: list[str] = []
    marked = asyncio.Event()

    async def listen() -> None:
        async for entry in watcher:
            heard.append(entry.operation or "PUT")
            if entry.operation:
                marked.set()

    listening = asyncio.create_task(listen())
    await kv.create("key", b"value", msg_ttl=key_ttl)
    await asyncio.wait_for(gone(kv), 20)
    if markers:
        await asyncio.wait_for(marked.wait(), 20)
    await end(watcher)
    await listening
    await js.delete_key_value(name)
    return f"{title}: the value is gone, the watcher heard {' '.join(heard)}"


async def refresh(js: JetStreamContext) -> str:
    """A TTL belongs to a value, not to its key: the next value has one of its own, or none."""
    kv = await fresh_bucket(js, "EXPIRE_NEXT")
    await kv.create("key", b"first", msg_ttl=KEY_TTL)
    await kv.put("key", b"second")
    await kv.create("other", b"value", msg_ttl=KEY_TTL + 1)
    while await value(kv, "other"):  # noqa: ASYNC110 - it outlives the TTL of the first value
        await asyncio.sleep(0.05)
    left = await value(kv, "key")
    await js.delete_key_value("EXPIRE_NEXT")
    return f"a second value without a TTL: still there, {left.decode()}"


async def purge(js: JetStreamContext) -> str:
    """A purge whose marker expires leaves nothing at all."""
    kv = await fresh_bucket(js, "EXPIRE_PURGE")
    await kv.put("key", b"value")
    await kv.purge("key", msg_ttl=KEY_TTL)
    before = (await kv.status()).values
    while (await kv.status()).values:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.05)
    await js.delete_key_value("EXPIRE_PURGE")
    return f"purge with a TTL: {before} marker, then nothing"


async def main(options: argparse.Namespace) -> None:
    """All at the same time, since all of them wait."""
    nc = await connect(options.url)
    js = nc.jetstream()
    results = await asyncio.gather(
        attempt(js, "bucket TTL", ttl=BUCKET_TTL, key_ttl=None, markers=False),
        attempt(js, "bucket TTL and markers", ttl=BUCKET_TTL, key_ttl=None, markers=True),
        attempt(js, "key TTL", ttl=None, key_ttl=KEY_TTL, markers=False),
        attempt(js, "key TTL and markers", ttl=None, key_ttl=KEY_TTL, markers=True),
        refresh(js),
        purge(js),
    )
    print("\n".join(results))
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
