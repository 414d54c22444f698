"""Runs a server, and a client that subscribes and unsubscribes during the measured load.

`python -m tests.bench.churner --log FILE --rate N SERVER --config FILE` forks the client, and then replaces its own
process by the server. So the process that natsload started and measures is only the server. The kernel ends the client
when the server ends.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

from tests.support.waiting import wait_for

# The busy subject of natsload is bench.0. No subject here matches it. Two have the same first token. The last one can
# match subjects of three tokens with any first token.
KINDS = ("churn.{}", "bench.{}", "churn.{}.*", "bench.*.{}", "*.churn.{}")

_STANDING_ROUNDS = 20
_NOTE_EVERY_S = 0.1
_SET_PARENT_DEATH_SIGNAL = 1
_PONG = b"PONG\r\n"


def main() -> None:
    """Forks the client and replaces this process by the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", type=int, required=True)
    parser.add_argument("server")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if "--config" in given.arguments:
        config = Path(given.arguments[given.arguments.index("--config") + 1]).read_text()
        found = re.search(r"^port: (\d+)$", config, re.MULTILINE)
        if found is None:
            sys.exit("churner: the configuration names no port")
        server = os.getpid()
        if os.fork() == 0:
            _client(server, int(found[1]), given.rate, given.log)
    os.execv(given.server, [given.server, *given.arguments])


def _client(server: int, port: int, rate: int, log: Path) -> None:
    """Subscribes and unsubscribes until the server ends."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(0)
    with contextlib.suppress(OSError):
        connection = wait_for(lambda: _connect(port), "the server")
        if connection is not None:
            churn(connection, rate, log)
    os._exit(0)


def _connect(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port))
    except OSError:
        return None


def churn(connection: socket.socket, rate: int, log: Path) -> None:
    """Sends `rate` SUBs and `rate` UNSUBs per second, in rounds of one for each of `KINDS`, followed by a PING."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n')
    standing: collections.deque[bytes] = collections.deque()
    pause = len(KINDS) / rate
    begin = noted = time.monotonic()
    rounds = confirmed = 0
    rest = b""
    while True:
        first = 1 + rounds * len(KINDS)
        subscribe = "".join(f"SUB {kind.format(first + i)} {first + i}\r\n" for i, kind in enumerate(KINDS))
        standing.append("".join(f"UNSUB {first + i}\r\n" for i in range(len(KINDS))).encode())
        unsubscribe = standing.popleft() if len(standing) > _STANDING_ROUNDS else b""
        connection.sendall(subscribe.encode() + unsubscribe + b"PING\r\n")
        rounds += 1
        # Rounds are due at fixed times, so that a delay does not lower the rate.
        time.sleep(max(0.0, begin + rounds * pause - time.monotonic()))
        try:
            got = rest + connection.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            got = rest
        if b"-ERR" in got:
            raise OSError(got)
        confirmed += got.count(_PONG)
        rest = got[got.rfind(b"\n") + 1 :]
        now = time.monotonic()
        if now - noted > _NOTE_EVERY_S:
            noted = now
            with log.open("a") as notes:
                notes.write(f"{os.getpid()} {confirmed * len(KINDS)} {now - begin:.3f}\n")


if __name__ == "__main__":
    main()
