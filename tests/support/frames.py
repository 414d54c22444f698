"""Cuts the byte stream of a server into frames without changing any byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CRLF = b"\r\n"


class FrameBuffer:
    """Buffer that takes received bytes and returns whole frames: a control line, for MSG and HMSG with its payload."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        self._bytes += data

    def frames(self) -> Iterator[bytes]:
        """Removes and yields all complete frames."""
        while (frame := self._take()) is not None:
            yield frame

    def rest(self) -> bytes:
        """Removes and returns the bytes after the last complete frame."""
        rest = bytes(self._bytes)
        self._bytes.clear()
        return rest

    def _take(self) -> bytes | None:
        line_end = self._bytes.find(CRLF)
        if line_end < 0:
            return None
        end = line_end + len(CRLF)
        words = bytes(self._bytes[:line_end]).split()
        if words and words[0] in (b"MSG", b"HMSG") and words[-1].isdigit():
            end += int(words[-1]) + len(CRLF)
        if len(self._bytes) < end:
            return None
        frame = bytes(self._bytes[:end])
        del self._bytes[:end]
        return frame
