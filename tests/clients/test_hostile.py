"""Misbehaving clients: none of them may stop the server or delay the others."""

from __future__ import annotations

import os
import random
import resource
import socket
import struct
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.process import LOOPBACK, ServerProcess
from tests.support.waiting import wait_for
from tests.support.wire import Wire

from .helpers import close_reasons

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import StartServer

IDLE_CONNECTIONS = 10_000
WRONG_PASSWORDS = 200
RIGHT = "$2b$10$2lhn61.QsVkG0C7aNaMr3uvn.1m5wtPlbGL0ifGIy2YlHGflGt5ee"
"""A bcrypt hash of `right`."""


@contextmanager
def quiet_client(server: ServerProcess) -> Iterator[Wire]:
    """Yields a well-behaved raw connection."""
    with Wire(server.port) as wire:
        wire.send_line('CONNECT {"verbose":false,"pedantic":false}')
        wire.sync()
        yield wire


def works(server: ServerProcess) -> None:
    """Checks that the server accepts a new client and delivers its message."""
    assert server.running, server.log()
    with quiet_client(server) as wire:
        wire.send(b"SUB alive 1\r\nPUB alive 2\r\nok\r\n")
        assert wire.sync() == [b"MSG alive 1 2\r\nok\r\n"]


def test_a_subscriber_that_never_reads(start_server: StartServer) -> None:
    """A subscriber with more than `max_pending` bytes is closed; publisher and other subscribers lose no messages."""
    server = start_server("max_pending: 2MB")
    payload, count = b"x" * 60_000, 400
    with (
        quiet_client(server) as publisher,
        quiet_client(server) as reader,
        Wire(server.port, receive_buffer=4096) as deaf,
    ):
        deaf.send(b'CONNECT {"verbose":false}\r\nSUB flood 1\r\n')
        reader.send_line("SUB flood 1")
        reader.sync()
        wait_for(lambda: server.get_json("/connz")["num_connections"] == 3, "three connections")
        wait_for(lambda: _subscribers(server) == 2, "two subscriptions")
        got = 0
        for _ in range(count):
            publisher.send(b"PUB flood %d\r\n%b\r\n" % (len(payload), payload))
            publisher.sync()
            got += len(reader.sync())
        got += len(reader.sync())
        assert got == count
        wait_for(lambda: "Slow Consumer (Pending Bytes)" in close_reasons(server), "the closing of the deaf one")
        deaf.read_to_end()
        assert server.get_json("/varz")["slow_consumers"] == 1
        assert publisher.sync() == []
    works(server)


def test_a_subscriber_that_never_reads_in_time(start_server: StartServer) -> None:
    """A subscriber is closed if a write takes longer than `write_deadline`, even below `max_pending`."""
    server = start_server('write_deadline: "300ms"\nmax_pending: 256MB')
    payload = b"x" * 1_000_000
    with quiet_client(server) as publisher, Wire(server.port, receive_buffer=4096) as deaf:
        deaf.send(b'CONNECT {"verbose":false}\r\nSUB flood 1\r\n')
        wait_for(lambda: _subscribers(server) == 1, "the subscription")
        for _ in range(40):
            publisher.send(b"PUB flood %d\r\n%b\r\n" % (len(payload), payload))
        publisher.sync()
        wait_for(lambda: "Slow Consumer (Write Deadline)" in close_reasons(server), "the closing of the deaf one")
        deaf.read_to_end()
    works(server)


def _subscribers(server: ServerProcess) -> int:
    listed = server.get_json("/connz?subs=1")["connections"]
    return sum("flood" in connection.get("subscriptions_list", []) for connection in listed)


def test_ten_thousand_idle_connections(server: ServerProcess) -> None:
    """With ten thousand idle connections the server still works; it releases them when they are closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = IDLE_CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"needs {needed} open files, but the hard limit of this machine is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    idle: list[socket.socket] = []
    try:
        idle.extend(socket.create_connection((LOOPBACK, server.port), timeout=20) for _ in range(IDLE_CONNECTIONS))
        wait_for(lambda: server.get_json("/varz")["connections"] == IDLE_CONNECTIONS, "all connections")
        works(server)
        assert idle[-1].recv(5) == idle[0].recv(5) == b"INFO "
    finally:
        for each in idle:
            each.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_for(lambda: server.get_json("/varz")["connections"] == 0, "an empty server", patience_s=60)
    works(server)


def test_a_control_line_without_end(server: ServerProcess) -> None:
    """A control line without end is refused long before it fills the memory."""
    with quiet_client(server) as other, Wire(server.port) as endless:
        endless.send(b"SUB ")
        for _ in range(64):
            endless.send(b"x" * 65536)
        assert endless.read_to_end()[-1:] == [b"-ERR 'maximum control line exceeded'\r\n"]
        other.sync()
    wait_for(lambda: "Maximum Control Line Exceeded" in close_reasons(server), "the reason")
    works(server)


def test_text_after_ping_without_end(server: ServerProcess) -> None:
    """Ignored text uses no memory, regardless of its length."""
    before = server.get_json("/varz")["mem"]
    with quiet_client(server) as wire:
        wire.send(b"PING ")
        for _ in range(512):
            wire.send(b"x" * 65536)
        wire.send(b"\r\n")
        wire.expect(b"PONG")
        assert server.get_json("/varz")["mem"] - before < 24 * 1024 * 1024
    works(server)


def test_garbage(server: ServerProcess) -> None:
    """Random bytes cause an error or nothing, never a crash."""
    chance = random.Random(20_26)
    words = [
        b"PUB ",
        b"SUB ",
        b"CONNECT {",
        b"\r\n",
        b" ",
        b"-ERR",
        b"HPUB ",
        b"UNSUB ",
        b"99 ",
        b"PING\r\n",
        b"INFO {}\r\n",
    ]
    with quiet_client(server) as other:
        for _ in range(300):
            with Wire(server.port) as wire:
                noise = b"".join(
                    chance.choice(words) if chance.random() < 0.6 else chance.randbytes(chance.randrange(1, 40))
                    for _ in range(chance.randrange(1, 30))
                )
                wire.send(noise)
                wire.finish_sending()
                wire.read_to_end()
            other.sync()
    works(server)


def test_a_payload_that_never_comes(server: ServerProcess) -> None:
    """Connections of clients that announce a large payload and disconnect are released."""
    with quiet_client(server) as other:
        for _ in range(50):
            with Wire(server.port) as wire:
                wire.send(b"PUB foo 1000000\r\n" + b"x" * 1000)
        other.sync()
    wait_for(lambda: server.get_json("/varz")["connections"] == 0, "an empty server")
    works(server)


def test_a_connection_that_is_reset(server: ServerProcess) -> None:
    """After a reset in the middle of a message, connection and subscriptions are released."""
    subscriptions = server.get_json("/varz")["subscriptions"]
    for _ in range(50):
        wire = Wire(server.port)
        wire.send(b'CONNECT {"verbose":false}\r\nSUB foo 1\r\nPUB foo 100\r\nhalf')
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()

    def clean() -> bool:
        varz = server.get_json("/varz")
        return bool(varz["connections"] == 0 and varz["subscriptions"] == subscriptions)

    wait_for(clean, "a clean server")
    works(server)


def test_a_half_open_connection(server: ServerProcess) -> None:
    """A client that closes its sending direction is closed after its messages were handled."""
    with quiet_client(server) as subscriber, Wire(server.port) as wire:
        subscriber.send_line("SUB foo 1")
        subscriber.sync()
        wire.send(b'CONNECT {"verbose":false}\r\nPUB foo 2\r\nhi\r\n')
        wire.finish_sending()
        wire.read_to_end()
        assert subscriber.sync() == [b"MSG foo 1 2\r\nhi\r\n"]


def test_a_client_that_does_not_answer(start_server: StartServer) -> None:
    """A peer that no longer answers is detected by PING."""
    server = start_server('ping_interval: "100ms"\nping_max: 2')
    with Wire(server.port) as silent:
        frames = silent.read_to_end()
    assert [frame for frame in frames if not frame.startswith(b"INFO")] == [
        b"PING\r\n",
        b"PING\r\n",
        b"-ERR 'Stale Connection'\r\n",
    ]
    wait_for(lambda: close_reasons(server) == ["Stale Connection"], "the reason")
    assert server.get_json("/varz")["stale_connections"] == 1


def test_a_client_that_does_not_log_in(start_server: StartServer) -> None:
    """A connection without a login is closed after the timeout."""
    server = start_server("authorization { token: t, timeout: 0.2 }")
    with Wire(server.port) as silent:
        assert silent.read_to_end()[-1:] == [b"-ERR 'Authentication Timeout'\r\n"]
    wait_for(lambda: close_reasons(server) == ["Authentication Timeout"], "the reason")


def threads(server: ServerProcess) -> int:
    """Returns the number of threads of the server process."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Threads:")).split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and any address of 127.0.0.0/8")
def test_many_wrong_passwords(start_server: StartServer) -> None:
    """Passwords are checked on few threads; a right one does not wait for wrong ones from another address."""
    server = start_server(f'authorization {{ users: [{{user: u, password: "{RIGHT}"}}], timeout: 60 }}')
    before = threads(server)
    with ExitStack() as stack:
        for _ in range(WRONG_PASSWORDS):
            sock = socket.create_connection((LOOPBACK, server.port), source_address=("127.0.0.2", 0))
            stack.enter_context(sock)
            sock.sendall(b'CONNECT {"user":"u","pass":"wrong"}\r\n')
        with Wire(server.port) as wire:
            wire.send_line('CONNECT {"user":"u","pass":"right","verbose":false}')
            wire.sync()
        assert len(close_reasons(server)) < WRONG_PASSWORDS / 2, "most of them still wait"
        assert threads(server) - before <= (os.cpu_count() or 1) + 4


def test_one_byte_at_a_time_from_many(server: ServerProcess) -> None:
    """Input of fifty clients that send single bytes in turn is not mixed up."""
    wires = [Wire(server.port) for _ in range(50)]
    try:
        scripts = [
            b'CONNECT {"verbose":false}\r\nSUB own.%d 1\r\nPUB own.%d 2\r\n%02d\r\n' % (i, i, i) for i in range(50)
        ]
        for position in range(max(map(len, scripts))):
            for wire, script in zip(wires, scripts, strict=True):
                wire.send(script[position : position + 1])
        for index, wire in enumerate(wires):
            assert wire.sync()[-1] == b"MSG own.%d 1 2\r\n%02d\r\n" % (index, index)
    finally:
        for wire in wires:
            wire.close()


def test_subscription_churn(server: ServerProcess) -> None:
    """Subscriptions that are repeatedly created and removed do not affect permanent ones."""
    with quiet_client(server) as stays, quiet_client(server) as churns, quiet_client(server) as publisher:
        stays.send_line("SUB churn.* 1")
        stays.sync()
        got = 0
        for round_ in range(200):
            churns.send(b"".join(b"SUB churn.%d %d\r\n" % (n, n) for n in range(20)))
            publisher.send(b"".join(b"PUB churn.%d 1\r\nx\r\n" % n for n in range(20)))
            churns.send(b"".join(b"UNSUB %d\r\n" % n for n in range(20)))
            publisher.sync()
            churns.sync()
            got += len(stays.sync())
            assert got == 20 * (round_ + 1)
        assert publisher.sync() == []
        publisher.send(b"PUB churn.5 1\r\nx\r\n")
        publisher.sync()
        assert churns.sync() == []
