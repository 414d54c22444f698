"""A program with one publisher and one subscriber at a fixed rate: `python -m tests.bench.load PORT RATE`.

It prints `flowing` when messages arrive, and runs until its standard input is closed. Then it waits until all messages
have arrived, and prints the results as JSON. To use little processor time, it encodes batches in advance and counts
frames by their length.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

SUBJECT = "bench.0"
PAYLOAD = b"0123456789abcdef"
_BATCH = 1000
_FLOWING_AFTER_S = 0.3
_PATIENCE_S = 30.0


class Load:
    """The two connections and the number of their messages."""

    def __init__(self, port: int, rate: int) -> None:
        self.published = 0
        self.delivered = 0
        self._pause = _BATCH / rate
        self._stop = threading.Event()
        self._subscriber = _connect(port)
        _ask(self._subscriber, b"SUB %b 1\r\n" % SUBJECT.encode())
        self._publisher = _connect(port)
        _ask(self._publisher, b"")
        self._batch = b"PUB %b %d\r\n%b\r\n" % (SUBJECT.encode(), len(PAYLOAD), PAYLOAD) * _BATCH
        self._frame = len(b"MSG %b 1 %d\r\n%b\r\n" % (SUBJECT.encode(), len(PAYLOAD), PAYLOAD))
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]
        self.begin = time.monotonic()
        for thread in self._threads:
            thread.start()

    def finish(self) -> float:
        """Stops publishing, waits for the last message, and returns the seconds during which it published."""
        self._stop.set()
        self._threads[1].join()
        seconds = time.monotonic() - self.begin
        self._threads[0].join(_PATIENCE_S)
        if self.delivered != self.published:
            raise RuntimeError(f"{self.published} messages published, {self.delivered} delivered")
        return seconds

    def _write(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._publisher.sendall(self._batch)
            self.published += _BATCH
            due += self._pause
            time.sleep(max(0.0, due - time.monotonic()))

    def _read(self) -> None:
        room = bytearray(1 << 18)
        received = 0
        # The order of the conditions matters: `published` is only final when the writer thread has ended.
        while not (self._stop.is_set() and not self._threads[1].is_alive() and self.delivered == self.published):
            if not select.select([self._subscriber], [], [], 0.05)[0]:
                continue
            count = self._subscriber.recv_into(room)
            if count == 0:
                return
            received += count
            self.delivered = received // self._frame


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket, operations: bytes) -> None:
    """Logs in, sends operations and waits until the server has handled them."""
    connection.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\n' + operations + b"PING\r\n")
    got = b""
    while not got.endswith(b"PONG\r\n"):
        more = connection.recv(1 << 16)
        if not more:
            raise RuntimeError(f"the server closed the connection: {got!r}")
        got += more


def main() -> None:
    """Runs the program."""
    load = Load(int(sys.argv[1]), int(sys.argv[2]))
    time.sleep(_FLOWING_AFTER_S)
    if not load.delivered:
        sys.exit("load: nothing arrives")
    print("flowing", flush=True)
    sys.stdin.read()
    seconds = load.finish()
    print(json.dumps({"delivered": load.delivered, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
