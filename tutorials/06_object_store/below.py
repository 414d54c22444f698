"""Looks at a bucket from below: which messages of its stream are chunks of which object, and which describe one."""

import argparse
import asyncio
import json
from html import escape
from itertools import groupby
from pathlib import Path

from archive import REPORTS, arguments, connect, objects, open_store
from nats.js import JetStreamContext, api
from nats.js.object_store import ObjectStore

COLOURS = ("#1b7f79", "#c2571a", "#5b4b8a", "#b59b1f", "#3a6ea5")
FONT = "font-family='system-ui, sans-serif' font-size='14'"
CELL, COLUMNS = 22, 32

Message = tuple[int, str, str, int]
"""Sequence, kind (C or M), the object's name, bytes."""


async def read(js: JetStreamContext, store: ObjectStore, bucket: str) -> list[Message]:
    """All messages of the bucket's stream."""
    owners = {info.nuid: info.name for info in await objects(store)}
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE, inactive_threshold=5)
    total = (await store.status()).stream_info.state.messages
    reader = await js.pull_subscribe(f"$O.{bucket}.>", stream=f"OBJ_{bucket}", config=config)
    found: list[Message] = []
    while len(found) < total:
        for message in await reader.fetch(min(64, total - len(found)), timeout=5):
            kind, token = message.subject.split(".")[2:4]
            name = owners.get(token, "nobody") if kind == "C" else json.loads(message.data)["name"]
            found.append((message.metadata.sequence.stream, kind, name, len(message.data)))
    await reader.unsubscribe()
    return found


def runs(messages: list[Message]) -> list[str]:
    """Neighbours that belong together in one line."""
    lines = []
    for (kind, name), group in groupby(messages, key=lambda message: message[1:3]):
        run = list(group)
        first, last = run[0][0], run[-1][0]
        place = f"#{first}" if first == last else f"#{first} to #{last}"
        size = sum(message[3] for message in run)
        text = f"{len(run)} chunks of {name}, {size} bytes" if kind == "C" else f"metadata of {name}"
        lines.append(f"  {place}: {text}")
    return lines


def svg(bucket: str, messages: list[Message]) -> str:
    """A square for each message: filled for a chunk, with a ring for metadata."""
    names = list(dict.fromkeys(name for _, _, name, _ in messages))
    rows = -(-len(messages) // COLUMNS)
    width, height = 40 + CELL * COLUMNS, 100 + CELL * rows
    title = f"stream OBJ_{escape(bucket)}: a square is a message, a frame is metadata"
    body = []
    for index, name in enumerate(names):
        x = 20 + 150 * index
        body.append(f"<rect x='{x}' y='48' width='14' height='14' fill='{COLOURS[index % len(COLOURS)]}'/>")
        body.append(f"<text x='{x + 20}' y='60' {FONT} fill='#222'>{escape(name)}</text>")
    for place, (_, kind, name, _) in enumerate(messages):
        x, y = 20 + CELL * (place % COLUMNS), 80 + CELL * (place // COLUMNS)
        colour = COLOURS[names.index(name) % len(COLOURS)]
        fill = f"fill='{colour}'" if kind == "C" else f"fill='#fff' stroke='{colour}' stroke-width='4'"
        inset = 0 if kind == "C" else 2
        side = CELL - 4 - 2 * inset
        body.append(f"<rect x='{x + inset}' y='{y + inset}' width='{side}' height='{side}' {fill}/>")
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>",
            f"<title>The messages of the bucket {escape(bucket)}: chunks, and metadata behind them</title>",
            f"<rect width='{width}' height='{height}' fill='#fff'/>",
            f"<text x='20' y='28' {FONT} font-weight='600' fill='#222'>{title}</text>",
            *body,
            "</svg>",
            "",
        ]
    )


async def main(options: argparse.Namespace) -> None:
    """Print it, and draw it if asked to."""
    nc = await connect(options.url)
    js = nc.jetstream()
    store = await open_store(js, options.bucket)
    messages = await read(js, store, options.bucket)
    state = (await store.status()).stream_info.state
    await nc.close()
    print(f"stream OBJ_{options.bucket}: {state.messages} messages, {state.bytes} bytes")
    print("\n".join(runs(messages)))
    if options.svg:
        options.svg.parent.mkdir(exist_ok=True)
        options.svg.write_text(svg(options.bucket, messages), encoding="utf-8")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("bucket", nargs="?", default=REPORTS, help="which bucket (default: %(default)s)")
    parser.add_argument("--svg", type=Path, help="draw a picture into this file, too")
    asyncio.run(main(parser.parse_args()))
