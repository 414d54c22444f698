"""A program that measures what clients of another account notice of an attack.

Three clients work beside each other: one publishes to a stream in memory, one to a stream on disk, each with one
message at a time, and a pair exchanges messages without JetStream. Each sends a message `PACE_S` after the last answer.
A stall counts once for each message that would have been sent while it lasted.

    python -m tests.stalls.victim PORT

It prints a line when it begins. It measures until its standard input ends, then prints the times as JSON.
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
    """Exchanges messages and notes how long each one took, in seconds."""
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
            # The server may be ending already.
            frames = wire.read_until(lambda frame: frame.startswith(b"MSG "))
            if not frames or not frames[-1].startswith(b"MSG "):
                return
            now = time.monotonic()
            times.append(now - sent)
            # While one message takes long, those that were due meanwhile would have waited for it.
            times.extend(now - sent - late * PACE_S for late in range(1, int((now - sent) / PACE_S)))
            is_over.wait(PACE_S)


def main() -> None:
    """Measures."""
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
