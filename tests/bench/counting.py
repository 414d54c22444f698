"""A program with a counting loop in pure Python: `python -m tests.bench.counting SECONDS [--server]`.

With `--server`, a server runs in the same process. The program prints the server's port, or 0. It waits for a line on
its standard input, counts, and prints the results as JSON. It ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import stonechat

_STEP = 10_000


def count(seconds: float) -> dict[str, float]:
    """Counts for some seconds; returns steps per second, the share of processor time, and the longest pause."""
    total = 0
    longest = 0.0
    cpu, process_cpu = time.thread_time(), time.process_time()
    begin = last = time.perf_counter()
    end = begin + seconds
    while last < end:
        for _ in range(_STEP):
            total += 1
        now = time.perf_counter()
        longest = max(longest, now - last)
        last = now
    wall, own = last - begin, time.thread_time() - cpu
    return {
        "steps/s": total / wall,
        "steps/cpu s": total / own,
        "cores": own / wall,
        "other threads' cores": (time.process_time() - process_cpu - own) / wall,
        "longest pause ms": longest * 1e3,
    }


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", type=float)
    parser.add_argument("--server", action="store_true")
    given = parser.parse_args()
    server = stonechat.Server(port=0).start() if given.server else None
    print(server.port if server else 0, flush=True)
    sys.stdin.readline()
    print(json.dumps(count(given.seconds)), flush=True)
    # The load still waits for its last messages, so the server must run until the input is closed.
    sys.stdin.read()
    if server:
        server.stop()


if __name__ == "__main__":
    main()
