"""The checks of nats-server's own ping tests (test/ping_test.go), with raw sockets.

The times are the same as there. A loaded machine may delay anything, so only early events are failures.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Certificates
from tests.support.process import LOOPBACK
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.process import ServerProcess

    from .conftest import StartServer

INTERVAL_S = 0.1
PINGS = 3
STALE = f'ping_interval: "100ms"\nping_max: {PINGS}'
CONNECT = b'CONNECT {"verbose":false,"pedantic":false}\r\n'


def read_to_stale(connection: socket.socket) -> bytes:
    """Reads up to the error `Stale Connection`, and returns the received bytes."""
    received = b""
    while b"'Stale Connection'\r\n" not in received:
        chunk = connection.recv(4096)
        assert chunk, received
        received += chunk
    return received


def assert_writes_fail(connection: socket.socket) -> None:
    """Checks that writes to a closed connection fail with an error at once, not because a buffer is full."""
    deadline = time.monotonic() + PATIENCE_S
    connection.settimeout(PATIENCE_S)

    def write_on() -> None:
        while time.monotonic() < deadline:
            connection.sendall(b"PING\r\n")

    with pytest.raises((ConnectionError, ssl.SSLError)):
        write_on()


def test_a_stale_connection_is_closed_at_once(start_server: StartServer) -> None:
    """TestPingInterval: after `ping_max` PINGs the server sends an error and closes both directions of the socket."""
    server = start_server(STALE)
    with Wire(server.port) as wire:
        wire.expect(b"INFO")
        wire.send(CONNECT)
        said = read_to_stale(wire.socket)
        assert said == b"PING\r\n" * PINGS + b"-ERR 'Stale Connection'\r\n"
        assert_writes_fail(wire.socket)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_so_is_an_encrypted_one(start_server: StartServer, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """TestPingSentToTLSConnection: no PING is sent during a TLS handshake of any length."""
    certificates = Certificates(tmp_path)
    server = start_server(STALE + "\n" + certificates.block("timeout: 60"))
    context = certificates.context()
    context.minimum_version = context.maximum_version = version
    with socket.create_connection((LOOPBACK, server.port), PATIENCE_S) as plain:
        info = b""
        while not info.endswith(b"\r\n"):
            info += plain.recv(1)
        # For three intervals there must be no unencrypted PING, which would break the handshake.
        plain.settimeout(3 * INTERVAL_S)
        with pytest.raises(TimeoutError):
            plain.recv(1)
        plain.settimeout(PATIENCE_S)
        with context.wrap_socket(plain, server_hostname=LOOPBACK) as connection:
            connection.sendall(CONNECT)
            assert read_to_stale(connection) == b"PING\r\n" * PINGS + b"-ERR 'Stale Connection'\r\n"
            assert_writes_fail(connection)


def test_answers_that_were_not_asked_for(start_server: StartServer) -> None:
    """TestUnpromptedPong: PONGs that are sent before a PING do not count."""
    server = start_server(STALE)
    with Wire(server.port) as wire:
        wire.expect(b"INFO")
        wire.send(CONNECT + b"PONG\r\n" * 100)
        assert read_to_stale(wire.socket) == b"PING\r\n" * PINGS + b"-ERR 'Stale Connection'\r\n"
        assert_writes_fail(wire.socket)


def test_who_says_something_is_not_pinged(start_server: StartServer) -> None:
    """TestPingSuppresion: the first PING is sent after the interval; a PING of the client suppresses the next one."""
    interval_s = 1.0
    server = start_server('ping_interval: "1s"')
    # An attempt that a busy machine has delayed gives no result, so it is repeated.
    wait_for(lambda: _is_suppressed(server, interval_s), "a turn in time")


def _is_suppressed(server: ServerProcess, interval_s: float) -> bool:
    with Wire(server.port) as wire:
        wire.expect(b"INFO")
        connected_at = time.monotonic()
        wire.send(CONNECT)
        wire.expect(b"PING")
        assert time.monotonic() - connected_at >= interval_s
        wire.send(b"PONG\r\n")
        # At the next check of the server, this PING is recent and suppresses one of the server's. The PING after that
        # is due two intervals later.
        first = time.monotonic()
        time.sleep(interval_s / 2)
        wire.sync()
        was_in_time = time.monotonic() - first < 0.8 * interval_s and first - connected_at < 1.4 * interval_s
        wire.expect(b"PING")
        assert not was_in_time or time.monotonic() - first >= 1.5 * interval_s
        return was_in_time


def test_connections_that_came_together_are_not_pinged_together(start_server: StartServer) -> None:
    """The first PING has a random delay of up to a fifth of the interval."""
    server = start_server('ping_interval: "1s"')
    began: dict[Wire, float] = {}
    delays = []
    try:
        for _ in range(20):
            now = time.monotonic()
            began[Wire(server.port)] = now
        for wire in began:
            wire.expect(b"INFO")
            wire.send(CONNECT)
        for wire in began:
            wire.socket.settimeout(0)
        waiting = set(began)
        deadline = time.monotonic() + PATIENCE_S
        while waiting:
            for wire in sorted(waiting, key=id):
                try:
                    said = wire.socket.recv(64)
                except BlockingIOError:
                    continue
                assert said == b"PING\r\n"
                delays.append(time.monotonic() - began[wire])
                waiting.remove(wire)
            assert time.monotonic() < deadline
    finally:
        for wire in began:
            wire.socket.close()
    assert min(delays) > 0.9
    assert max(delays) - min(delays) > 0.05, delays
