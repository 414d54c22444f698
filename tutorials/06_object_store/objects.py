"""A small command for objects: files up and down, lists, metadata, links, deletion."""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from archive import (
    BrokenObjectError,
    arguments,
    connect,
    download,
    file_pieces,
    fresh_store,
    new_nuid,
    objects,
    open_store,
    put_info,
    resolve,
    upload,
)
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError


class Progress:
    """A line that is written anew while bytes go by, if it goes to a terminal."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb, self._total, self._done, self._shown = verb, max(total, 1), 0, 0.0

    def add(self, count: int) -> None:
        """Count, and draw ten times a second at most."""
        self._done += count
        if os.isatty(1) and time.monotonic() - self._shown > 0.1:
            self._shown = time.monotonic()
            filled = 40 * self._done // self._total
            print(f"\r{self._verb} {'#' * filled:<40} {self._done >> 20} MiB", end="\r", flush=True)


async def new(js: JetStreamContext, options: argparse.Namespace) -> str:
    """An empty bucket."""
    await fresh_store(js, options.bucket)
    return f"bucket {options.bucket}: empty"


async def put(js: JetStreamContext, options: argparse.Namespace) -> str:
    """A file becomes an object."""
    await open_store(js, options.bucket)
    headers = {key: [value] for key, value in (pair.split("=", 1) for pair in options.header)}
    meta = api.ObjectMeta(
        description=options.description,
        headers=headers or None,
        options=api.ObjectMetaOptions(max_chunk_size=options.chunk_size),
    )
    progress = Progress("up  ", options.file.stat().st_size)

    async def pieces() -> AsyncIterator[bytes]:
        async for piece in file_pieces(options.file):
            progress.add(len(piece))
            yield piece

    info = await upload(js, options.bucket, options.name, pieces(), meta)
    return f"{info.name}: {info.size} bytes in {info.chunks} chunks"


async def get(js: JetStreamContext, options: argparse.Namespace) -> str:
    """An object becomes a file: written beside, and renamed when its digest is right."""
    info = await resolve(js, options.bucket, options.name)
    progress = Progress("down", info.size or 0)
    beside = options.file.with_name(f"{options.file.name}.part")
    try:
        with beside.open("wb") as file:
            async for chunk in download(js, options.bucket, options.name):
                await asyncio.to_thread(file.write, chunk)
                progress.add(len(chunk))
        beside.rename(options.file)
    finally:
        beside.unlink(missing_ok=True)
    link = f" ({options.name} leads there)" if info.name != options.name else ""
    return f"{info.name}: {info.size} bytes{link}, digest right"


async def info(js: JetStreamContext, options: argparse.Namespace) -> str:
    """What the bucket knows about an object."""
    found = await (await open_store(js, options.bucket)).get_info(options.name)
    lines = [f"{found.name}: {found.description or 'no description'}"]
    if found.options and found.options.link:
        lines.append(f"  a link to {found.options.link.name} in {found.options.link.bucket}")
    else:
        chunk_size = found.options.max_chunk_size if found.options else None
        lines.append(f"  {found.size} bytes in {found.chunks} chunks of at most {chunk_size}")
        lines.append(f"  {found.digest}")
    lines += [f"  {key}: {', '.join(values)}" for key, values in (found.headers or {}).items()]
    return "\n".join(lines)


async def ls(js: JetStreamContext, options: argparse.Namespace) -> str:
    """The objects of a bucket."""
    found = await objects(await open_store(js, options.bucket))
    rows = []
    for one in found:
        link = one.options.link if one.options else None
        rows.append(f"{one.name:<12} " + (f"-> {link.name}" if link else f"{one.size} bytes"))
    return "\n".join(rows) or "no objects"


async def describe(js: JetStreamContext, options: argparse.Namespace) -> str:
    """Another description: new metadata for the same chunks."""
    store = await open_store(js, options.bucket)
    meta = (await store.get_info(options.name)).meta
    meta.description = options.description
    await store.update_meta(options.name, meta)
    return f"{options.name}: {options.description}"


async def link(js: JetStreamContext, options: argparse.Namespace) -> str:
    """A name for another object. nats-py has no call for it, but a link is nothing but metadata."""
    await (await open_store(js, options.bucket)).get_info(options.target)
    to = api.ObjectLink(bucket=options.bucket, name=options.target)
    meta = api.ObjectMetaOptions(link=to)
    nuid = new_nuid()
    await put_info(js, api.ObjectInfo(name=options.name, bucket=options.bucket, nuid=nuid, options=meta))
    return f"{options.name} -> {options.target}"


async def delete(js: JetStreamContext, options: argparse.Namespace) -> str:
    """The chunks go; a note stays that there was an object."""
    await (await open_store(js, options.bucket)).delete(options.name)
    return f"{options.name} is deleted"


COMMANDS = {command.__name__: command for command in (new, put, get, info, ls, describe, link, delete)}


async def main(options: argparse.Namespace) -> None:
    """Run one command."""
    nc = await connect(options.url)
    try:
        print(await COMMANDS[options.command](nc.jetstream(), options))
    except NotFoundError:
        raise SystemExit(f"{options.name} not found in {options.bucket}") from None
    except (BrokenObjectError, OSError) as error:
        raise SystemExit(str(error)) from None
    finally:
        await nc.close()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = arguments(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.__doc__)
        sub.add_argument("bucket")
        if name not in ("new", "ls"):
            sub.add_argument("name")
        if name in ("put", "get"):
            sub.add_argument("file", type=Path)
        if name == "put":
            sub.add_argument("--chunk-size", type=int, default=128 * 1024, help="bytes (default: %(default)s)")
            sub.add_argument("--description", help="for people")
            sub.add_argument("--header", action="append", default=[], metavar="KEY=VALUE", help="for programs")
        if name == "describe":
            sub.add_argument("description")
        if name == "link":
            sub.add_argument("target")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parse()))
