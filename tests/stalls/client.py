"""Clients that send many JetStream or monitoring requests, to prepare an attack and to execute it."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, final

from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

INBOX = "_I.0"
_CHUNK = 1 << 18


def message(subject: str, payload: bytes = b"", reply: str = "", headers: bytes = b"") -> bytes:
    """Returns the bytes of a PUB, or with headers of an HPUB."""
    reply = reply and f" {reply}"
    if headers:
        return b"HPUB %s%s %d %d\r\n%s%s\r\n" % (
            *(subject.encode(), reply.encode(), len(headers), len(headers) + len(payload)),
            *(headers, payload),
        )
    return b"PUB %s%s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload)


def request(subject: str, payload: Mapping[str, Any] | bytes = b"") -> bytes:
    """Returns an API request whose answer is sent to the inbox."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return message(f"$JS.API.{subject}", body, INBOX)


def stream(name: str, **config: Any) -> bytes:
    """Returns a request that creates a stream in memory, by default for the subjects `s.>`."""
    config = {"name": name, "storage": "memory", "num_replicas": 1, "allow_direct": True, "subjects": ["s.>"], **config}
    return request(f"STREAM.CREATE.{name}", config)


def consumer(of: str, name: str, **config: Any) -> bytes:
    """Returns a request that creates a durable consumer."""
    config = {"durable_name": name, "name": name, "ack_policy": "explicit", "mem_storage": True, **config}
    return request(f"CONSUMER.CREATE.{of}.{name}", {"stream_name": of, "config": config})


@final
class Client:
    """A connection, by default in the attacking account."""

    def __init__(self, port: int, user: str = "attacker") -> None:
        self.wire = Wire(port)
        options = {"user": user, "pass": "x", "verbose": False, "headers": True, "no_responders": True}
        self.wire.send_line(f"CONNECT {json.dumps(options)}")
        self.wire.send(f"SUB {INBOX} 1\r\n".encode())
        self.wire.sync()

    def ask(self, *requests: bytes) -> None:
        """Sends requests in batches of 256 and waits for their answers, which must not be errors."""
        for at in range(0, len(requests), 256):
            some = requests[at : at + 256]
            self.wire.send(b"".join(some))
            for _ in some:
                answer = self.wire.expect(b"MSG ")
                if b'"error"' in answer[:400]:
                    raise AssertionError(answer[:1000])

    def store(self, subjects: Iterable[str], last: str) -> None:
        """Publishes a message on each subject, and waits until the stream `last` has handled all of them."""
        block = bytearray()
        for subject in subjects:
            block += b"PUB %s 1\r\nx\r\n" % subject.encode()
            if len(block) > _CHUNK:
                self.wire.send(bytes(block))
                # JetStream's inbox is limited, so wait until the messages are handled.
                self.ask(request(f"STREAM.INFO.{last}"))
                block.clear()
        self.wire.send(bytes(block))
        self.ask(request(f"STREAM.INFO.{last}"))

    def close(self) -> None:
        """Closes the connection."""
        self.wire.close()


@final
class Hammer:
    """Sends requests repeatedly from its own thread, with at most `window` outstanding answers."""

    def __init__(self, port: int, requests: Iterator[bytes], window: int, count: int, answer: bytes) -> None:
        self._client = Client(port)
        self._requests = requests
        self._answer = re.compile(answer)
        self._window = threading.Semaphore(window)
        self._count_each = count
        self.answers = 0
        self._is_over = False
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._send, self._count)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with suppress(OSError):
            for data in self._requests:
                for _ in range(self._count_each):
                    self._window.acquire()
                if self._is_over:
                    return
                self._client.wire.socket.sendall(data)

    def _count(self) -> None:
        rest = b""
        sock = self._client.wire.socket
        sock.settimeout(0.1)
        while not self._is_over:
            try:
                data = sock.recv(1 << 20)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            data = rest + data
            found = [match.end() for match in self._answer.finditer(data)]
            if found:
                self.answers += len(found)
                self._window.release(len(found))
            # The start of an answer may be split over two reads.
            rest = data[max(len(data) - 15, found[-1] if found else 0) :]
        self._is_over = True
        self._window.release(self._count_each)

    def close(self) -> None:
        """Ends the attack."""
        self._is_over = True
        self._window.release(self._count_each)
        with suppress(OSError):
            self._client.wire.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._client.close()


@final
class HttpHammer:
    """Requests a document of the monitoring port repeatedly, on two connections."""

    def __init__(self, port: int, path: str) -> None:
        self._address = ("127.0.0.1", port)
        self._path = path
        self._is_over = False
        self.answers = 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._is_over:
            with suppress(OSError), socket.create_connection(self._address, timeout=20) as sock:
                sock.sendall(f"GET {self._path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                while sock.recv(1 << 20):
                    pass
                self.answers += 1

    def close(self) -> None:
        """Ends the attack."""
        self._is_over = True
        for thread in self._threads:
            thread.join()
