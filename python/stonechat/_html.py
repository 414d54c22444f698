"""HTML of servers, streams and buckets for notebooks; `repr()` is the text form. All text is escaped.

Text has the current colour of the notebook; lines, green and red are mixed with it, so light and dark themes both work.
The data is read when the cell ends. For a server that has ended, the HTML says so; no exception is raised.
"""

from __future__ import annotations

import html
import itertools
import re
from typing import TYPE_CHECKING

from .errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from .kv import Bucket, Entry
    from .objects import ObjectInfo, ObjectStore
    from .server import Server
    from .stats import ServerStats
    from .streams import ConsumerInfo, StoredMessage, Stream, Streams

ROWS = 20
"""Largest number of rows in a table."""
_LONGEST = 120
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# JupyterLab aligns, shades and pads tables and code with rules that are more specific than these: hence `!important`.
_STYLE = (
    "<style>.stonechat{font:13px/1.5 ui-sans-serif,system-ui,sans-serif;color:inherit;margin:.3em 0}"
    ".stonechat table{border-collapse:collapse;margin:.3em 0;color:inherit;font:inherit}"
    ".stonechat th,.stonechat td{text-align:left!important;padding:.15em .8em .15em 0;vertical-align:baseline;"
    "background:none;border-bottom:1px solid color-mix(in srgb,currentColor 18%,transparent)}"
    ".stonechat tr{background:none!important}"
    ".stonechat th{font-weight:600;opacity:.7}.stonechat td.n,.stonechat th.n{text-align:right!important}"
    ".stonechat code{font:12px ui-monospace,monospace;color:inherit;background:none!important;padding:0!important}"
    ".stonechat .on{color:color-mix(in srgb,#2e9e5b 70%,currentColor)}"
    ".stonechat .off{color:color-mix(in srgb,#d9534f 70%,currentColor)}"
    ".stonechat .more{opacity:.7}</style>"
)


def text(value: object) -> str:
    """Escape text for HTML; control characters and those that change the text direction become visible."""
    return html.escape(printable(str(value)))


def printable(value: str) -> str:
    """Return text with visible control characters."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), value)


def data(value: bytes) -> str:
    """Return bytes as HTML: as text if they are UTF-8, else as escapes."""
    return f"<code>{html.escape(shown(value))}</code>"


def shown(value: bytes) -> str:
    """Return bytes as text, shortened to `_LONGEST` characters."""
    try:
        read = printable(value[: 4 * _LONGEST].decode())
    except UnicodeDecodeError:
        read = repr(value[:_LONGEST])[2:-1]
    more = f"... ({len(value)} bytes)" if len(value) > _LONGEST else ""
    return read[:_LONGEST] + more


def size(count: float) -> str:
    """Return a number of bytes with its unit."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1024
    return f"{count:,.1f} TiB"


def when(moment: datetime) -> str:
    """Return a time to the second; empty for an unknown one."""
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment.year > 1 else ""


def box(title: str, *parts: str) -> str:
    """Return a box with a title and contents, all of them HTML."""
    return f'{_STYLE}<div class="stonechat"><div><b>{title}</b></div>{"".join(parts)}</div>'


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values; the values are HTML. Pairs with an empty value are left out."""
    rows = "".join(f"<tr><th>{text(name)}</th><td>{value}</td></tr>" for name, value in pairs if value)
    return f"<table>{rows}</table>"


def table(heads: Iterable[str], rows: Iterable[tuple[str, ...]], more: str = "") -> str:
    """Return a table; the cells are HTML. A head that begins with `#` marks a column of numbers."""
    named = [(head.removeprefix("#"), ' class="n"' if head.startswith("#") else "") for head in heads]
    head = "".join(f"<th{kind}>{text(name)}</th>" for name, kind in named)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, (_, kind) in zip(row, named, strict=True)) + "</tr>"
        for row in rows
    )
    tail = f'<div class="more">{text(more)}</div>' if more else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{tail}"


def looked_up(title: str, look: Callable[[], str]) -> str:
    """Return a box with the result of `look`, or with the message of its error."""
    try:
        return box(title, look())
    except ServerError as error:
        return box(title, f'<div class="off">{text(error)}</div>')


# Objects


def server(server: Server) -> str:
    """A server."""
    if not server.ready:
        return box("stonechat.Server", '<div class="off">not running</div>')

    def look() -> str:
        stats = server.stats()
        pairs = [
            ("state", '<span class="on">running</span>'),
            ("url", f"<code>{text(server.url)}</code>"),
            ("name", text(server.name) if server.name != server.server_id else ""),
            ("monitoring", f"<code>{text(server.monitor_url)}</code>" if server.monitor_url else ""),
            ("clients", f"{stats.connections:,}"),
            ("subscriptions", f"{stats.subscriptions:,}"),
            ("messages in, out", f"{stats.in_msgs:,}, {stats.out_msgs:,}"),
        ]
        figures = server.jsz()
        if not figures.get("disabled"):
            pairs += [
                ("streams", f"{figures.get('streams', 0):,}"),
                ("messages stored", f"{figures.get('messages', 0):,} ({size(figures.get('bytes', 0))})"),
            ]
        return facts(pairs)

    return looked_up("stonechat.Server", look)


def stats(stats: ServerStats) -> str:
    """Counters."""
    pairs = [(name.replace("_", " "), f"{value:,}") for name, value in vars(stats).items()]
    return box("stonechat.ServerStats", facts(pairs))


def entry(entry: Entry) -> str:
    """An entry of a bucket."""
    pairs = [
        ("bucket", text(entry.bucket)),
        ("key", f"<code>{text(entry.key)}</code>"),
        ("value", data(entry.value) if entry.operation == "put" else ""),
        ("operation", text(entry.operation)),
        ("revision", f"{entry.revision:,}"),
        ("created", when(entry.created)),
    ]
    return box("stonechat.Entry", facts(pairs))


def entries(found: Iterable[Entry], more: str = "") -> str:
    """Entries as a table."""
    rows = (
        (
            f"<code>{text(one.key)}</code>",
            data(one.value) if one.operation == "put" else f'<span class="off">{text(one.operation)}</span>',
            f"{one.revision:,}",
            when(one.created),
        )
        for one in found
    )
    return table(("key", "value", "#revision", "created"), rows, more)


def bucket(bucket: Bucket) -> str:
    """A bucket with its first keys."""

    def look() -> str:
        info = bucket.info()
        found = list(itertools.islice(bucket.find(), ROWS + 1))
        more = "and more keys" if len(found) > ROWS else ""
        pairs = [
            ("values", f"{info.values:,} ({size(info.bytes)})"),
            ("history", f"{info.history}"),
            ("ttl", f"{info.ttl:g} s" if info.ttl else ""),
            ("description", text(info.description)),
        ]
        return facts(pairs) + entries(found[:ROWS], more)

    return looked_up(f"bucket {text(bucket.name)}", look)


def stored_object(info: ObjectInfo) -> str:
    """An object."""
    link = "/".join(part for part in info.link if part) if info.link else ""
    pairs = [
        ("bucket", text(info.bucket)),
        ("object", f"<code>{text(info.name)}</code>"),
        ("size", f"{size(info.size)} in {info.chunks:,} chunks"),
        ("link to", text(link)),
        ("digest", f"<code>{text(info.digest)}</code>" if info.digest else ""),
        ("modified", when(info.modified)),
        ("description", text(info.description)),
        ("state", '<span class="off">deleted</span>' if info.deleted else ""),
    ]
    return box("stonechat.ObjectInfo", facts(pairs))


def object_store(store: ObjectStore) -> str:
    """An object store with its first objects."""

    def look() -> str:
        found = list(itertools.islice(store.list(), ROWS + 1))
        rows = (
            (f"<code>{text(one.name)}</code>", size(one.size), f"{one.chunks:,}", when(one.modified))
            for one in found[:ROWS]
        )
        more = "and more objects" if len(found) > ROWS else ""
        info = store.store_info()
        return facts([("takes", size(info.bytes))]) + table(("object", "#size", "#chunks", "modified"), rows, more)

    return looked_up(f"object store {text(store.name)}", look)


def stored_message(message: StoredMessage) -> str:
    """A message of a stream."""
    pairs = [
        ("stream", text(message.stream)),
        ("sequence", f"{message.sequence:,}"),
        ("subject", f"<code>{text(message.subject)}</code>"),
        ("data", data(message.data)),
        ("headers", text(dict(message.headers)) if message.headers else ""),
        ("time", when(message.time)),
    ]
    return box("stonechat.StoredMessage", facts(pairs))


def stream(stream: Stream) -> str:
    """A stream with its last messages."""

    def look() -> str:
        info = stream.info()
        pairs = [
            ("subjects", f"<code>{text(', '.join(info.subjects))}</code>" if info.subjects else ""),
            ("messages", f"{info.messages:,} ({size(info.bytes)})"),
            ("sequences", f"{info.first:,} to {info.last:,}" if info.messages else ""),
            ("consumers", f"{info.consumers:,}"),
        ]
        first = max(info.last - ROWS + 1, 1)
        rows = [
            (f"{one.sequence:,}", f"<code>{text(one.subject)}</code>", data(one.data), when(one.time))
            for one in itertools.islice(stream.read(start=first), ROWS)
        ]
        more = "the last messages" if info.messages > len(rows) else ""
        return facts(pairs) + table(("#sequence", "subject", "data", "time"), rows, more)

    return looked_up(f"stream {text(stream.name)}", look)


def streams(streams: Streams) -> str:
    """All streams."""

    def look() -> str:
        names = streams.names()
        infos = [streams[name].info() for name in names[:ROWS]]
        rows = (
            (text(one.name), f"<code>{text(', '.join(one.subjects))}</code>", f"{one.messages:,}", size(one.bytes))
            for one in infos
        )
        more = f"and {len(names) - ROWS} more" if len(names) > ROWS else ""
        return table(("stream", "subjects", "#messages", "#bytes"), rows, more)

    return looked_up("streams", look)


def consumer(consumer: ConsumerInfo) -> str:
    """A consumer."""
    pairs = [
        ("stream", text(consumer.stream)),
        ("consumer", text(consumer.name)),
        ("waiting", f"{consumer.pending:,}"),
        ("not acknowledged", f"{consumer.ack_pending:,}"),
        ("delivered again", f"{consumer.redelivered:,}"),
        ("filter", f"<code>{text(consumer.config.get('filter_subject', ''))}</code>"),
    ]
    return box("stonechat.ConsumerInfo", facts(pairs))
