"""Draws the history of a bucket as a timeline: a row for each key, a column for each revision."""

import argparse
import asyncio
from html import escape
from pathlib import Path

from nats.js.kv import KeyValue
from shop import CONFIG, arguments, connect, end, open_bucket, operation, text

SIGNS = {"put": "o", "del": "x", "purge": "X"}
COLOURS = {"put": "#1b7f79", "del": "#c2571a", "purge": "#c2571a"}
COLUMN, ROW, LEFT, TOP = 92, 74, 150, 62
FONT = "font-family='system-ui, sans-serif' font-size='14'"


async def read(kv: KeyValue) -> list[KeyValue.Entry]:
    """All that the bucket remembers, in the order in which it happened."""
    watcher = await kv.watchall(include_history=True, inactive_threshold=5)
    entries = []
    async for entry in watcher:
        if entry is None:
            break
        entries.append(entry)
    await end(watcher)
    return entries


def lines(entries: list[KeyValue.Entry]) -> list[str]:
    """The timeline for a terminal."""
    revisions = [entry.revision or 0 for entry in entries]
    keys = sorted({entry.key for entry in entries})
    width = max(map(len, (*keys, "revision")))
    rows = [f"{'revision':<{width}}" + "".join(f"{revision:>4}" for revision in revisions)]
    for key in keys:
        signs = [SIGNS[operation(entry)] if entry.key == key else "" for entry in entries]
        rows.append(f"{key:<{width}}" + "".join(f"{sign:>4}" for sign in signs).rstrip())
    return [*rows, "o put   x deleted   X purged"]


def svg(bucket: str, entries: list[KeyValue.Entry]) -> str:
    """The timeline as a picture: bars from each value to the one that replaces it."""
    keys = sorted({entry.key for entry in entries})
    width, height = LEFT + COLUMN * (len(entries) + 1), TOP + ROW * len(keys) + 8
    body = []
    for row, key in enumerate(keys):
        y = TOP + ROW * row + 28
        body.append(f"<text x='14' y='{y + 5}' {FONT} fill='#222'>{escape(key)}</text>")
        places = [column for column, entry in enumerate(entries) if entry.key == key]
        for column, after in zip(places, [*places[1:], len(entries)], strict=True):
            x, end = LEFT + COLUMN * column, LEFT + COLUMN * after
            kind = operation(entries[column])
            if kind == "put":
                body.append(f"<path d='M{x} {y}H{end}' stroke='{COLOURS[kind]}' stroke-width='5' opacity='.35'/>")
            body.append(f"<circle cx='{x}' cy='{y}' r='8' fill='{COLOURS[kind]}'/>")
            label = escape(text(entries[column])) or {"del": "deleted", "purge": "purged"}.get(kind, "")
            body.append(f"<text x='{x}' y='{y + 27}' {FONT} text-anchor='middle' fill='#222'>{label}</text>")
    for column, entry in enumerate(entries):
        x = LEFT + COLUMN * column
        body.append(f"<text x='{x}' y='48' {FONT} text-anchor='middle' fill='#777'>#{entry.revision}</text>")
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>",
            f"<title>What the bucket {escape(bucket)} remembers, revision by revision</title>",
            f"<rect width='{width}' height='{height}' fill='#fff'/>",
            f"<text x='14' y='22' {FONT} font-weight='600' fill='#222'>bucket {escape(bucket)}</text>",
            *body,
            "</svg>",
            "",
        ]
    )


async def main(options: argparse.Namespace) -> None:
    """Draw it for the terminal, and as a picture if asked to."""
    nc = await connect(options.url)
    entries = await read(await open_bucket(nc.jetstream(), options.bucket))
    await nc.close()
    if not entries:
        raise SystemExit(f"bucket {options.bucket} is empty")
    print("\n".join(lines(entries)))
    if options.svg:
        options.svg.parent.mkdir(exist_ok=True)
        options.svg.write_text(svg(options.bucket, entries), encoding="utf-8")


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("bucket", nargs="?", default=CONFIG, help="which bucket (default: %(default)s)")
    parser.add_argument("--svg", type=Path, help="write a picture to this file, too")
    asyncio.run(main(parser.parse_args()))
