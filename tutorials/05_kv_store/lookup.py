"""Looks for 20 keys among 2,000: with keys(filters=...) of nats-py, and with a watch that the server filters."""

import argparse
import asyncio
import logging

from nats.aio.client import Client
from nats.js.errors import NoKeysError
from nats.js.kv import KeyValue
from shop import arguments, connect, find, fresh_bucket

COUNTRIES = 100
PATTERN = "prices.*.de.lamp"


async def fill(nc: Client) -> KeyValue:
    """Keys like prices.17.de.lamp: 20 products in each of 100 countries."""
    kv = await fresh_bucket(nc.jetstream(), "LOOKUP")
    js = nc.jetstream()
    for country in ("de", *(f"x{other}" for other in range(1, COUNTRIES))):
        keys = [f"prices.{number}.{country}.lamp" for number in range(20)]
        await asyncio.gather(*[await js.publish_async(f"$KV.LOOKUP.{key}", b"9") for key in keys])
    return kv


async def main(options: argparse.Namespace) -> None:
    """Count what is found, and what had to come over the network for it."""
    logging.getLogger("nats.js.kv").setLevel(logging.ERROR)  # keys() warns of old servers, whatever the server is
    nc = await connect(options.url)
    kv = await fill(nc)

    async def by_keys(text: str) -> list[str]:
        try:
            return await kv.keys(filters=[text])
        except NoKeysError:
            return []

    async def by_watch(pattern: str) -> list[str]:
        return await find(kv, pattern)

    for title, search, text in (
        (f"keys(filters=['{PATTERN}'])", by_keys, PATTERN),
        ("keys(filters=['.de.'])", by_keys, ".de."),
        (f"find(kv, '{PATTERN}')", by_watch, PATTERN),
        ("find(kv, 'prices.*.fr.lamp')", by_watch, "prices.*.fr.lamp"),
    ):
        before = nc.stats["in_msgs"]
        found = await search(text)
        # Some messages are answers of the API; they don't count here.
        entries = round((nc.stats["in_msgs"] - before) / 10) * 10
        print(f"{title}: {len(found)} found, {entries} fetched")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
