"""A program that measures the effect of an attack on clients of another account.

Three clients run in parallel. One publishes to a stream in memory and one to a stream on disk, one message at a time.
The third exchanges messages without JetStream. Each sends a message `PACE_S` after the last answer. A stall counts once
for each message that would have been sent during it.

    python -m tests.stalls.victim PORT

It prints a line at the start, measures until its standard input is closed, then prints the times as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import suppress

from tests.support.wire import Wire

PACE_S = 0.004
USER = b'CONNECT {"user":"victim","pass":"x","verbose":false}\r\n'


def _times(port: int, subject: str, begun: threading.Barrier, is_over: threading.Event, times: list[float]) -> None:
    """Sends messages one at a time and records the latency of each, in seconds."""
    with Wire(port) as wire:
        wire.send(USER + b"SUB _V.%s 1\r\n" % subject.encode())
        wire.sync()
        request = f"PUB {subject} _V.{subject} 1\r\nx\r\n".encode()
        if subject == "core":
            request = b"PUB _V.core 1\r\nx\r\n"
        wire.send(request)
        wire.expect(b"MSG ")
        begun.wait()
        while not is_over.is_set():
            sent = time.monotonic()
            wire.send(request)
            # The server may already be shutting down.
            frames = wire.read_until(lambda frame: frame.startswith(b"MSG "))
            if not frames or not frames[-1].startswith(b"MSG "):
                return
            now = time.monotonic()
            times.append(now - sent)
            # Messages that would have been sent during a slow one count too, with the time that they would have waited.
            times.extend(now - sent - late * PACE_S for late in range(1, int((now - sent) / PACE_S)))
            is_over.wait(PACE_S)


def main() -> None:
    """Runs the program."""
    port = int(sys.argv[1])
    begun, is_over = threading.Barrier(4), threading.Event()
    times: dict[str, list[float]] = {"memory": [], "file": [], "core": []}
    threads = [
        threading.Thread(target=_times, args=(port, subject, begun, is_over, taken), daemon=True)
        for subject, taken in times.items()
    ]
    for thread in threads:
        thread.start()
    begun.wait()
    print("begun", flush=True)
    with suppress(OSError):
        sys.stdin.read()
    is_over.set()
    for thread in threads:
        thread.join()
    print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
