"""A small command for buckets: create, read, update and delete, one operation a call."""

import argparse
import asyncio
import re

import nats.js.errors
from nats.js import JetStreamContext
from nats.js.kv import KeyValue
from shop import arguments, connect, find, fresh_bucket, open_bucket, operation, text


def check_key(key: str) -> None:
    """The rule of ADR-8. nats-py has the same, but lets an empty token pass (two dots in a row)."""
    if not re.fullmatch(r"[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*", key):
        rule = "letters, digits and - / _ = . are allowed, no dot at either end, nor two in a row"
        raise SystemExit(f"{key!r} is no key: {rule}")


async def put(kv: KeyValue, options: argparse.Namespace) -> str:
    """Whatever the key has now: this is its value."""
    revision = await kv.put(options.key, options.value.encode())
    return f"{options.key} is at revision {revision}"


async def create(kv: KeyValue, options: argparse.Namespace) -> str:
    """Only if the key has no value."""
    try:
        revision = await kv.create(options.key, options.value.encode())
    except nats.js.errors.KeyWrongLastSequenceError:
        raise SystemExit(f"refused: {options.key} has a value already") from None
    return f"{options.key} is at revision {revision}"


async def update(kv: KeyValue, options: argparse.Namespace) -> str:
    """Only if the key is still at the revision that we have read."""
    try:
        revision = await kv.update(options.key, options.value.encode(), last=options.revision)
    except nats.js.errors.KeyWrongLastSequenceError:
        raise SystemExit(f"refused: {options.key} is not at revision {options.revision} any more") from None
    return f"{options.key} is at revision {revision}"


async def get(kv: KeyValue, options: argparse.Namespace) -> str:
    """The value now, or the one that it had at a revision."""
    try:
        entry = await kv.get(options.key, revision=options.revision)
    except nats.js.errors.KeyNotFoundError:
        raise SystemExit(f"{options.key} has no value") from None
    return f"{entry.key} = {text(entry)} (revision {entry.revision})"


async def delete(kv: KeyValue, options: argparse.Namespace) -> str:
    """A marker says that the key is deleted; its history stays."""
    await kv.delete(options.key)
    return f"{options.key} is deleted"


async def purge(kv: KeyValue, options: argparse.Namespace) -> str:
    """A marker, and the history goes."""
    await kv.purge(options.key)
    return f"{options.key} is deleted, with its history"


async def history(kv: KeyValue, options: argparse.Namespace) -> str:
    """What the bucket remembers of a key."""
    try:
        entries = await kv.history(options.key)
    except nats.js.errors.NoKeysError:
        raise SystemExit(f"there is nothing about {options.key}") from None
    return "\n".join(f"#{entry.revision} {operation(entry)} {text(entry)}".rstrip() for entry in entries)


async def keys(kv: KeyValue, options: argparse.Namespace) -> str:
    """The keys that match a pattern."""
    found = await find(kv, options.pattern)
    return "\n".join(found) or f"no key matches {options.pattern}"


COMMANDS = {command.__name__: command for command in (put, create, update, get, delete, purge, history, keys)}


async def example(js: JetStreamContext, bucket: str) -> str:
    """A bucket with a past: seven operations on three keys."""
    kv = await fresh_bucket(js, bucket, history=5)
    await kv.put("web.banner", b"Welcome")
    await kv.put("prices.currency", b"EUR")
    await kv.put("web.banner", b"Summer sale")
    await kv.put("prices.vat", b"19")
    await kv.delete("web.banner")
    await kv.put("prices.vat", b"16")
    await kv.put("web.banner", b"Hello")
    return f"bucket {bucket}: three keys, seven operations"


async def main(options: argparse.Namespace) -> None:
    """Run one command."""
    nc = await connect(options.url)
    js = nc.jetstream()
    try:
        if options.command == "new":
            kv = await fresh_bucket(
                js, options.bucket, history=options.history, ttl=options.ttl, limit_marker_ttl=options.markers
            )
            print(f"bucket {options.bucket}: empty, history {(await kv.status()).history}")
        elif options.command == "example":
            print(await example(js, options.bucket))
        else:
            check_key(getattr(options, "key", "none"))
            kv = await open_bucket(js, options.bucket)
            print(await COMMANDS[options.command](kv, options))
    finally:
        await nc.close()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="an empty bucket")
    new.add_argument("bucket")
    new.add_argument("--history", type=int, default=1, help="how many revisions of a key are kept (1 to 64)")
    new.add_argument("--ttl", type=int, help="seconds until a value expires")
    new.add_argument(
        "--markers", type=int, help="watchers hear of what expires, by a marker that stays so many seconds"
    )
    commands.add_parser("example", help=example.__doc__).add_argument("bucket")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.add_argument("bucket")
        if name == "keys":
            sub.add_argument("pattern", nargs="?", default=">", help="* is one token, > is all that follow")
            continue
        sub.add_argument("key")
        if name in ("put", "create", "update"):
            sub.add_argument("value")
        if name in ("get", "update"):
            sub.add_argument("--revision", type=int, required=name == "update", help="a revision of the key")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
