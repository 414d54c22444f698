"""Tables that show live changes of a server: updated in place in notebooks, printed line by line in terminals."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _html, _rules
from ._link import message
from .errors import NoAnswerError, ServerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .kv import Bucket, Entry
    from .server import Server

ROWS = 20
_UPDATE_SECONDS = 0.2
"""Shortest time between two updates of a shown table, in seconds."""
_WAITING = 10_000
"""Largest number of messages in the inbox that are not shown yet; further ones are dropped and only counted."""
_AT_ONCE = 1000
_WIDTH = 60


class Limits(NamedTuple):
    """Limits after which a table ends."""

    seconds: float | None = None
    changes: int | None = None


class Table:
    """Base class of the live tables."""

    title = ""
    heads: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.count = 0
        """Number of changes so far."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    # To be implemented by each table

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows as text."""
        raise NotImplementedError

    def step(self, seconds: float, most: int) -> list[str]:
        """Wait at most `seconds` for changes, and return a line of text for each, at most `most` lines."""
        raise NotImplementedError

    def release(self) -> None:
        """Release the watch or subscription of the table."""

    # Following

    @property
    def is_over(self) -> bool:
        """Whether the table has ended."""
        return self._over.is_set()

    def close(self) -> None:
        """End the updates; the table stays visible."""
        self._over.set()
        self.release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(10)

    def begin(self, limits: Limits) -> None:
        """Show the table, and update it from a new thread."""
        import IPython.display

        display: Any = IPython.display.display
        handle = display(self._bundle(), raw=True, display_id=True)
        self._thread = threading.Thread(target=self._run, args=(handle, limits), name="stonechat-table", daemon=True)
        self._thread.start()

    def _run(self, handle: Any, limits: Limits) -> None:
        drawn, is_stale = time.monotonic(), False

        def draw(changes: list[str]) -> None:
            nonlocal drawn, is_stale
            is_stale = is_stale or bool(changes)
            if is_stale and time.monotonic() - drawn >= _UPDATE_SECONDS:
                handle.update(self._bundle(), raw=True)
                drawn, is_stale = time.monotonic(), False

        self._follow(draw, limits)
        self._over.set()
        with contextlib.suppress(Exception):
            # The kernel may be shutting down.
            handle.update(self._bundle(), raw=True)

    def follow(self, tell: Callable[[str], object], limits: Limits) -> None:
        """Call `tell` for each change on this thread, until Ctrl-C."""
        with contextlib.suppress(KeyboardInterrupt):
            self._follow(lambda lines: [tell(line) for line in lines], limits)
        self.close()

    def _follow(self, told: Callable[[list[str]], object], limits: Limits) -> None:
        end = None if limits.seconds is None else time.monotonic() + limits.seconds
        try:
            while not self._over.is_set() and (limits.changes is None or self.count < limits.changes):
                left = _UPDATE_SECONDS if end is None else min(end - time.monotonic(), _UPDATE_SECONDS)
                if left <= 0:
                    break
                most = _AT_ONCE if limits.changes is None else min(limits.changes - self.count, _AT_ONCE)
                lines = self.step(left, most)
                self.count += len(lines)
                told(lines)
        except ServerError:
            # The server has ended, or the bucket was deleted.
            pass
        finally:
            self.release()

    # Presentation

    def _bundle(self) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def _state(self) -> str:
        return "ended" if self.is_over else "live"

    def _repr_html_(self) -> str:
        kind = "off" if self.is_over else "on"
        rows = [tuple(f"<code>{_html.text(cell)}</code>" for cell in row) for row in self.rows()]
        state = f'<span class="{kind}">{self._state()}</span>, {self.count:,} changes'
        return _html.box(_html.text(self.title), f"<div>{state}</div>", _html.table(self.heads, rows))

    def __repr__(self) -> str:
        heads = tuple(head.removeprefix("#") for head in self.heads)
        rows = [tuple(_html.printable(cell)[:_WIDTH] for cell in row) for row in self.rows()]
        widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)
        ]
        return "\n".join(line.rstrip() for line in (f"{self.title} ({self._state()})", *lines))


class Messages(Table):
    """A table of the last messages on a subject."""

    heads = ("time", "subject", "data", "headers")

    def __init__(self, server: Server, subject: str) -> None:
        super().__init__()
        self.title = f"messages on {subject}"
        self._inbox = server._connection(None).link.subscribe(_rules.subject(subject, wildcards=True), _WAITING)
        self._last: deque[tuple[str, ...]] = deque(maxlen=ROWS)

    def rows(self) -> list[tuple[str, ...]]:
        return list(self._last)

    def step(self, seconds: float, most: int) -> list[str]:
        lines: list[str] = []
        while len(lines) < most and (parts := self._inbox.take(0 if lines else seconds)) is not None:
            got = message(parts)
            headers = ", ".join(f"{name}: {text}" for name, text in got.headers.items())
            row = (time.strftime("%H:%M:%S"), got.subject, _html.shown(got.data), headers)
            self._last.append(row)
            lines.append(_html.printable(f"{row[0]} {got.subject}: {row[2]}"))
        return lines

    def release(self) -> None:
        self._inbox.close()


class Entries(Table):
    """A table of the keys of a bucket that were written last."""

    heads = ("key", "value", "#revision", "written")

    def __init__(self, bucket: Bucket) -> None:
        super().__init__()
        self.title = f"bucket {bucket.name}"
        self._changes = bucket.watch()
        self._entries: dict[str, Entry] = {}

    def rows(self) -> list[tuple[str, ...]]:
        # The updating thread changes `_entries` at the same time, so sort a copy.
        entries = sorted(self._entries.copy().values(), key=lambda entry: -entry.revision)
        return [
            (entry.key, _html.shown(entry.value), f"{entry.revision}", _html.when(entry.created))
            for entry in itertools.islice(entries, ROWS)
        ]

    def step(self, seconds: float, most: int) -> list[str]:
        lines: list[str] = []
        while len(lines) < most:
            try:
                entry = self._changes.next(0 if lines else seconds)
            except NoAnswerError:
                break
            except StopIteration:
                self._over.set()
                break
            if entry.operation == "put":
                self._entries[entry.key] = entry
            else:
                self._entries.pop(entry.key, None)
            value = f": {_html.shown(entry.value)}" if entry.operation == "put" else ""
            lines.append(f"{_html.when(entry.created)} {entry.operation} {_html.printable(entry.key)}{value}")
        return lines

    def release(self) -> None:
        self._changes.close()


class Connections(Table):
    """A table of the connections, with messages per second."""

    heads = ("connection", "subscriptions", "#in/s", "#out/s", "#pending")

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.title = f"connections of {server.name}"
        self._server = server
        self._looked = 0.0
        self._before: dict[int, tuple[int, int]] = {}
        self._rows: list[tuple[str, ...]] = []
        self._look()

    def rows(self) -> list[tuple[str, ...]]:
        return self._rows

    def _look(self) -> list[str]:
        now = time.monotonic()
        passed = max(now - self._looked, 0.001)
        told = self._server.connz(limit=1000)["connections"]
        counts = {one["cid"]: (one["in_msgs"], one["out_msgs"]) for one in told}
        rates = {
            cid: tuple((now - before) / passed for now, before in zip(pair, self._before.get(cid, pair), strict=True))
            for cid, pair in counts.items()
        }
        told.sort(key=lambda one: -sum(rates[one["cid"]]))
        self._rows = [
            (
                one.get("name") or f"client {one['cid']}",
                f"{one['subscriptions']}",
                *(f"{rate:,.0f}" for rate in rates[one["cid"]]),
                _html.size(one["pending_bytes"]),
            )
            for one in told[:ROWS]
        ]
        self._looked, self._before = now, counts
        return [f"{name}: {ins} in/s, {outs} out/s" for name, _, ins, outs, _ in self._rows]

    def step(self, seconds: float, most: int) -> list[str]:  # noqa: ARG002 - a look is a look
        self._over.wait(min(1.0, seconds * 5))
        return self._look()


class Buckets:
    """A table of the first `ROWS` buckets of a server; it is not updated."""

    def __init__(self, server: Server) -> None:
        self._infos = [server.kv(name, create=False).info() for name in bucket_names(server)[:ROWS]]

    def __repr__(self) -> str:
        return (
            "\n".join(f"{one.name}: {one.values:,} values, {_html.size(one.bytes)}" for one in self._infos)
            or "no buckets"
        )

    def _repr_html_(self) -> str:
        rows = [(_html.text(one.name), f"{one.values:,}", _html.size(one.bytes)) for one in self._infos]
        return _html.box("buckets", _html.table(("bucket", "#values", "#bytes"), rows))


def bucket_names(server: Server) -> list[str]:
    """Return the names of all buckets."""
    return [name.removeprefix("KV_") for name in server.streams.names() if name.startswith("KV_")]
