"""Makes a mirror of a bucket: a read-only copy that follows, here of one branch of its keys."""

import argparse
import asyncio
import contextlib

import nats.js.errors
from nats.js.api import StreamConfig, StreamSource, SubjectTransform
from shop import CONFIG, arguments, connect, find, open_bucket, text

COPY = "PRICES"


async def main(options: argparse.Namespace) -> None:
    """Create the mirror, wait until it has what the origin has, and try to write to it."""
    nc = await connect(options.url)
    js = nc.jetstream()
    origin = await open_bucket(js, CONFIG)
    with contextlib.suppress(nats.js.errors.NotFoundError):
        await js.delete_key_value(COPY)
    # nats-py has no call for this: a bucket is a stream, so a mirror of it is a mirror of the stream. The transform
    # chooses the keys, and gives them subjects of the copy, under which `key_value(COPY)` looks for them.
    transform = SubjectTransform(src=f"$KV.{CONFIG}.prices.>", dest=f"$KV.{COPY}.prices.>")
    await js.add_stream(
        StreamConfig(
            name=f"KV_{COPY}",
            mirror=StreamSource(name=f"KV_{CONFIG}", subject_transforms=[transform]),
            max_msgs_per_subject=1,
            allow_direct=True,
        )
    )
    copy = await js.key_value(COPY)
    wanted = await find(origin, "prices.>")
    while await find(copy, ">") != wanted:  # noqa: ASYNC110 - no event tells it
        await asyncio.sleep(0.05)
    for key in wanted:
        here, there = await origin.get(key), await copy.get(key)
        print(f"{key} = {text(there)}, revision {here.revision} in {CONFIG} and {there.revision} in {COPY}")
    try:
        await copy.put("prices.vat", b"0")
    except nats.js.errors.NoStreamResponseError:
        print(f"{COPY} takes no writes")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
