"""Exercise 2: keys from anything. Customers are found by their mail address, and by its domain alone."""

import argparse
import asyncio
import base64

from shop import arguments, connect, find, fresh_bucket, text


def token(anything: str) -> str:
    """A token of a key for any text: base64 with the letters for URLs, without padding."""
    return base64.urlsafe_b64encode(anything.encode()).decode().rstrip("=")


def plain(encoded: str) -> str:
    """The text of a token."""
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()


def key(address: str) -> str:
    """The domain first: what one looks for by wildcard stands in a token of its own."""
    name, domain = address.rsplit("@", 1)
    return f"customer.{token(domain)}.{token(name)}"


async def main(options: argparse.Namespace) -> None:
    """Three customers, two of them in one place."""
    nc = await connect(options.url)
    kv = await fresh_bucket(nc.jetstream(), "CUSTOMERS")
    for address in ("ann@example.com", "bob+lamps@example.com", "zoë@exämple.org"):
        await kv.put(key(address), b"customer since today")
    print(f"{key('ann@example.com')}: {text(await kv.get(key('ann@example.com')))}")
    for found in await find(kv, f"customer.{token('example.com')}.*"):
        _, domain, name = found.split(".")
        print(f"{plain(name)} at {plain(domain)}")
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(arguments(__doc__).parse_args()))
