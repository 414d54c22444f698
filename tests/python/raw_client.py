"""A minimal client on a plain socket, for tests without an event loop."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

_TIMEOUT_SECONDS = 60


class RawClient:
    """A logged-in client; raises `ConnectionError` with the server's message if the login is refused."""

    def __init__(self, url: str, **connect: Any) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        self._socket = socket.create_connection((address.hostname, address.port), timeout=_TIMEOUT_SECONDS)
        self._lines = self._socket.makefile("rb")
        kind, _, text = self.line().partition(" ")
        assert kind == "INFO"
        self.info: dict[str, Any] = json.loads(text)
        self.send(f"CONNECT {json.dumps({'verbose': False, **connect})}")
        self.ping()

    def send(self, line: str) -> None:
        self._socket.sendall(line.encode() + b"\r\n")

    def line(self) -> str:
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        return line.decode().rstrip("\r\n")

    def ping(self) -> None:
        """Waits until the server has handled all earlier bytes."""
        self.send("PING")
        answer = self.line()
        if answer != "PONG":
            self.close()
            raise ConnectionError(answer)

    def ends(self) -> bool:
        """Waits until the server has closed the connection."""
        return all(self._lines)

    def publish(self, subject: str, payload: str) -> None:
        self.send(f"PUB {subject} {len(payload.encode())}\r\n{payload}")

    def subscribe(self, subject: str) -> None:
        self.send(f"SUB {subject} 1")
        self.ping()

    def message(self) -> tuple[str, str]:
        """Returns the subject and payload of the next message."""
        head = self.line().split(" ")
        assert head[0] == "MSG", head
        return head[1], self.line()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
