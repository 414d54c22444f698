"""A raw protocol connection without a client library: sends exact bytes and reads frames."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, final

from .frames import CRLF, FrameBuffer
from .process import LOOPBACK
from .waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_READ_SIZE = 1 << 16


@final
class Wire:
    """One TCP connection to a server. Frames are returned in the order of their arrival."""

    def __init__(self, port: int, host: str = LOOPBACK, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.opened_at = time.monotonic()
        self.closed = False
        self._buffer = FrameBuffer()
        self._ready: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Sends bytes. An error because the server has closed the connection is ignored; the next read ends."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def send_line(self, text: str) -> None:
        """Sends one control line."""
        self.send(text.encode() + CRLF)

    def drip(self, data: bytes) -> None:
        """Sends bytes one at a time, each in its own TCP segment."""
        for index in range(len(data)):
            self.send(data[index : index + 1])

    def read_until(self, wanted: Callable[[bytes], bool], patience_s: float = PATIENCE_S) -> list[bytes]:
        """Returns all frames up to and including the first one that is `wanted`, or up to the end of the stream.

        At the end of the stream, an incomplete frame is the last element. Raises TimeoutError after `patience_s`;
        `pending` then returns the received frames.
        """
        taken: list[bytes] = []
        deadline = time.monotonic() + patience_s
        try:
            while True:
                self._ready.extend(self._buffer.frames())
                while self._ready:
                    taken.append(self._ready.pop(0))
                    if wanted(taken[-1]):
                        return taken
                if self.closed or not self._receive(deadline):
                    rest = self._buffer.rest()
                    return [*taken, rest] if rest else taken
        except TimeoutError:
            self._ready[:0] = taken
            raise

    def read_to_end(self, patience_s: float = PATIENCE_S) -> list[bytes]:
        """Reads until the server closes the connection."""
        return self.read_until(lambda _: False, patience_s)

    def expect(self, prefix: bytes) -> bytes:
        """Reads up to the first frame that begins with `prefix`, and returns it."""
        frames = self.read_until(lambda frame: frame.startswith(prefix))
        if not frames or not frames[-1].startswith(prefix):
            raise AssertionError(f"closed before {prefix!r}; last frames: {frames[-5:]}")
        return frames[-1]

    def sync(self) -> list[bytes]:
        """Sends a PING and returns the frames before its PONG. The server has then handled all earlier bytes."""
        self.send(b"PING\r\n")
        frames = self.read_until(lambda frame: frame == b"PONG\r\n")
        if not frames or frames[-1] != b"PONG\r\n":
            raise AssertionError(f"closed before PONG; last frames: {frames[-5:]}")
        return frames[:-1]

    def pending(self) -> list[bytes]:
        """Removes and returns the received frames and bytes that were not read yet."""
        ready, self._ready = self._ready, []
        rest = self._buffer.rest()
        return [*ready, rest] if rest else ready

    def finish_sending(self) -> None:
        """Closes only the sending direction: the connection is half open then."""
        with contextlib.suppress(OSError):  # the server may have closed already
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def _receive(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(_READ_SIZE)
        except ConnectionResetError:  # the server closed while bytes of ours were unread
            data = b""
        finally:
            self.socket.settimeout(PATIENCE_S)
        if not data:
            self.closed = True
            return False
        self._buffer.feed(data)
        return True

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
