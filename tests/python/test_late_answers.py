"""Readers that answer flow control late receive every byte; readers that never answer end with an error."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

import pytest

from stonechat import NotRunningError, ObjectDamagedError, Server
from stonechat._link import Connection

DATA = bytes(range(251)) * 40_000
"""Ten megabytes. The server delivers a part and then waits for an answer to flow control."""
LATE_S = 0.3


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    with Server(jetstream=True) as server:
        yield server


class Late:
    """Delays answers to flow control by `late_s`, or drops them if that is `None`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, late_s: float | None) -> None:
        self.held = 0
        publish = Connection.publish

        def slow(
            connection: Connection,
            subject: str,
            data: bytes,
            headers: Mapping[str, str] | None = None,
            reply: str | None = None,
        ) -> None:
            if not subject.startswith("$JS.FC."):
                publish(connection, subject, data, headers, reply)
                return
            self.held += 1
            if late_s is not None:
                threading.Timer(late_s, answer, (connection, subject, data)).start()

        def answer(connection: Connection, subject: str, data: bytes) -> None:
            # The last answer is not needed, and the server may have been stopped.
            with contextlib.suppress(NotRunningError):
                publish(connection, subject, data)

        monkeypatch.setattr(Connection, "publish", slow)


def test_every_byte_comes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = server.objects("SLOW")
    store.put("a", DATA)
    late = Late(monkeypatch, LATE_S)
    assert store.get("a") == DATA
    assert late.held > 0


def test_a_list_is_whole(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = server.kv("SLOW")
    for key in range(100):
        bucket[f"key.{key}"] = bytes(50_000)
    late = Late(monkeypatch, LATE_S)
    assert [entry.key for entry in bucket.find()] == [f"key.{key}" for key in range(100)]
    assert late.held > 0


def test_without_an_answer_it_is_an_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    store = server.objects("SLOW")
    store.put("a", DATA)
    late = Late(monkeypatch, None)
    with pytest.raises(ObjectDamagedError, match="does not come"):
        store.get("a")
    assert late.held > 0
