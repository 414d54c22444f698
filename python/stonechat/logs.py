"""Forwards the log lines of all servers of this process to Python's `logging`.

The threads of a server never wait for Python. They put their lines into a bounded queue. One Python thread takes the
lines and passes them to the logger `stonechat`. When the queue is full, lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import traceback
from typing import NamedTuple

from ._stonechat import LogQueue

__all__ = ["TRACE", "LogLine"]

TRACE = 5
"""Level of the protocol trace (`trace=True`), below `logging.DEBUG`."""
logging.addLevelName(TRACE, "TRACE")

LOGGER = logging.getLogger("stonechat")

_QUEUE_LINES = 16384
_BATCH_LINES = 512
_FLUSH_SECONDS = 2.0
_LABELS = {
    logging.CRITICAL: "FTL",
    logging.ERROR: "ERR",
    logging.WARNING: "WRN",
    logging.INFO: "INF",
    logging.DEBUG: "DBG",
    TRACE: "TRC",
}


class LogLine(NamedTuple):
    """A line of a server's log; its text is like `[INF] Server is ready`."""

    time: float
    """Time in seconds since 1970."""
    level: int
    """One of the levels of `logging`, or [`TRACE`][stonechat.TRACE]."""
    message: str
    """Text of the line, without time and level."""

    def __str__(self) -> str:
        return f"[{_LABELS.get(self.level, str(self.level))}] {self.message}"


class _Dispatcher:
    """The queue of this process and the thread that drains it."""

    def __init__(self) -> None:
        self.queue = LogQueue(_QUEUE_LINES)
        self.names: dict[int, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        with self._lock:
            if self._thread is None:
                # A daemon thread, so that it does not keep the process alive. `_stop` ends it at exit.
                self._thread = threading.Thread(target=self._drain, name="stonechat-log", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Wait until the lines logged so far are handled, but at most `_FLUSH_SECONDS`, since a handler may hang."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self.queue.flush(_FLUSH_SECONDS)

    def stop(self) -> None:
        """Handle the remaining lines and end the thread."""
        with self._lock:
            self.queue.close()
            if self._thread is not None:
                self._thread.join(_FLUSH_SECONDS)

    def _drain(self) -> None:
        while (batch := self.queue.take(_BATCH_LINES)) is not None:
            lines, dropped = batch
            for server, time, level, message in lines:
                self._emit(server, LogLine(time, level, message))
            if dropped:
                LOGGER.warning("%d log lines were dropped: logging could not keep up", dropped)

    def _emit(self, server: int, line: LogLine) -> None:
        if not LOGGER.isEnabledFor(line.level):
            return
        extra = {"server": self.names.get(server, "")}
        record = LOGGER.makeRecord(LOGGER.name, line.level, "stonechat", 0, line.message, (), None, extra=extra)
        record.created = line.time
        record.msecs = int(line.time % 1 * 1000)
        try:
            LOGGER.handle(record)
        except Exception:  # noqa: BLE001 - whatever it is, it is not ours
            # A broken handler of the application must not end the logs of all servers.
            traceback.print_exc()


dispatcher = _Dispatcher()


def _stop() -> None:
    dispatcher.stop()


def _start_afresh_in_child() -> None:
    # The child lacks the threads of its parent, and one of them may have held the queue's lock during the fork.
    global dispatcher
    dispatcher = _Dispatcher()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh_in_child)
