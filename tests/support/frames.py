"""Cuts the byte stream of a server into frames, keeping every byte as it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CRLF = b"\r\n"


class FrameBuffer:
    """Bytes in, whole frames out: a control line, with the payload when it is MSG or HMSG."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Adds bytes that arrived."""
        self._bytes += data

    def frames(self) -> Iterator[bytes]:
        """Takes out every frame that is complete."""
        while (frame := self._take()) is not None:
            yield frame

    def rest(self) -> bytes:
        """Takes out the bytes after the last complete frame."""
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
