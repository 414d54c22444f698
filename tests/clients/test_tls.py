"""Encrypted connections, with nats-py and with plain sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from typing import TYPE_CHECKING, Any

import nats.errors
import pytest

from tests.support.certificates import Certificates
from tests.support.waiting import PATIENCE_S, eventually, wait_for

from .helpers import Events, barrier, client, close_reasons, received

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.process import ServerProcess

    from .conftest import StartServer

REFUSED = (nats.errors.Error, OSError, ssl.SSLError)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    """New certificates for this test."""
    return Certificates(tmp_path)


def secured(server: ServerProcess, certificates: Certificates, events: Events | None = None, **options: Any) -> Any:
    """Returns an encrypted nats-py connection."""
    return client(server, events, **{"tls": certificates.context(), "tls_hostname": "127.0.0.1", **options})


def encrypt(sock: socket.socket, certificates: Certificates) -> ssl.SSLSocket:
    """Does the TLS handshake on a connected socket; the end without a `close_notify` is an error."""
    return certificates.context().wrap_socket(sock, server_hostname="127.0.0.1", suppress_ragged_eofs=False)


def bare(server: ServerProcess) -> socket.socket:
    """Returns a plain connection."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def read_line(sock: socket.socket) -> bytes:
    """Reads one line byte by byte, so that no later byte is consumed."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line


@pytest.mark.asyncio
async def test_messages_of_all_sizes_both_ways(start_server: StartServer, certificates: Certificates) -> None:
    """Small and large messages between encrypted connections arrive complete and in order."""
    server = start_server(certificates.block())
    async with secured(server, certificates) as publisher, secured(server, certificates) as subscriber:
        sub = await subscriber.subscribe("data")
        await barrier(subscriber)
        sizes = [0, 1, 100, 4_000, 16_383, 16_384, 16_385, 65_536, 300_000, 1_048_576] * 3
        payloads = [os.urandom(size) for size in sizes] + [str(n).encode() for n in range(5_000)]
        for payload in payloads:
            await publisher.publish("data", payload)
        await publisher.flush()
        assert await received(sub, len(payloads)) == payloads
        (first, second) = server.get_json("/connz")["connections"]
        assert first["tls_version"] == second["tls_version"] == "1.3"
        assert first["tls_cipher_suite"] == "TLS_AES_128_GCM_SHA256"
        assert server.get_json("/varz")["tls_required"] is True


@pytest.mark.asyncio
async def test_queue_groups_and_requests(start_server: StartServer, certificates: Certificates) -> None:
    """Each message is delivered to one member. Requests are answered, or fail at once without a responder."""
    server = start_server(certificates.block())
    async with secured(server, certificates) as nc, secured(server, certificates) as worker:
        got: list[bytes] = []

        async def take(message: Any) -> None:
            got.append(message.data)
            await message.respond(b"done " + message.data)

        for connection in (nc, worker):
            await connection.subscribe("work", queue="workers", cb=take)
            await barrier(connection)
        for n in range(100):
            reply = await nc.request("work", str(n).encode(), timeout=60)
            assert reply.data == f"done {n}".encode()
        assert got == [str(n).encode() for n in range(100)]
        with pytest.raises(nats.errors.NoRespondersError):
            await nc.request("nobody", b"", timeout=60)


@pytest.mark.asyncio
async def test_many_connections(start_server: StartServer, certificates: Certificates) -> None:
    """A hundred encrypted connections get the same message."""
    server = start_server(certificates.block())
    async with secured(server, certificates) as publisher:
        connections = [secured(server, certificates) for _ in range(100)]
        clients = await asyncio.gather(*(connection.__aenter__() for connection in connections))
        subs = [await nc.subscribe("all") for nc in clients]
        for nc in clients:
            await barrier(nc)
        await publisher.publish("all", b"hello" * 2_000)
        await publisher.flush()
        for sub in subs:
            assert await received(sub, 1) == [b"hello" * 2_000]
        for connection in connections:
            await connection.__aexit__(None, None, None)


@pytest.mark.asyncio
async def test_strangers_are_not_trusted(start_server: StartServer, certificates: Certificates, tmp_path: Path) -> None:
    """A client refuses a server with a certificate of another authority; the server refuses an unencrypted client."""
    server = start_server(certificates.block())
    folder = tmp_path / "others"
    folder.mkdir()
    with pytest.raises(REFUSED):
        async with secured(server, Certificates(folder), allow_reconnect=False, max_reconnect_attempts=0):
            pass
    with bare(server) as plain:
        assert b'"tls_required":true' in read_line(plain)
        plain.sendall(b"CONNECT {}\r\nPING\r\n")
        assert plain.recv(100) == b"", "nothing is said in the clear"
    wait_for(lambda: close_reasons(server).count("TLS Handshake Failure") == 2, "both to be remembered")


@pytest.mark.asyncio
async def test_clients_show_certificates(start_server: StartServer, certificates: Certificates, tmp_path: Path) -> None:
    """With `verify`, only clients with a certificate of the authority are accepted."""
    server = start_server(certificates.block(f'ca_file: "{certificates.authority_file}"', "verify: true"))
    async with secured(server, certificates, tls=certificates.context(client_certificate=True)) as nc:
        assert nc._server_info["tls_verify"] is True
        await nc.flush()
    with pytest.raises(REFUSED):
        async with secured(server, certificates, allow_reconnect=False, max_reconnect_attempts=0) as nc:
            await nc.flush()


def test_a_silent_client_runs_out_of_time(start_server: StartServer, certificates: Certificates) -> None:
    """A client that does not start the handshake is closed after the timeout, without an unencrypted error."""
    server = start_server(certificates.block("timeout: 0.2"))
    with bare(server) as silent:
        read_line(silent)
        assert silent.recv(100) == b""
    wait_for(lambda: close_reasons(server) == ["TLS Handshake Failure"], "the end to be remembered")


def test_nothing_is_said_in_the_clear_at_the_end(start_server: StartServer, certificates: Certificates) -> None:
    """A server that stops before the handshake does not send pending data unencrypted, here INFO."""
    server = start_server(certificates.block("handshake_first: true"))
    with bare(server) as waiting:
        wait_for(lambda: server.get_json("/varz")["total_connections"] == 1, "the connection")
        server.stop()
        assert waiting.recv(1000) == b""


def test_bytes_one_by_one(start_server: StartServer, certificates: Certificates) -> None:
    """Input in TLS records of one byte is handled."""
    server = start_server(certificates.block())
    with bare(server) as sock:
        read_line(sock)
        with encrypt(sock, certificates) as tls:
            tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b'CONNECT {"verbose":false}\r\nSUB a 1\r\nPUB a 5\r\nhello\r\nPING\r\n':
                tls.sendall(bytes([byte]))
            assert read_line(tls) == b"MSG a 1 5\r\n"
            assert read_line(tls) == b"hello\r\n"
            assert read_line(tls) == b"PONG\r\n"


def test_last_words_are_encrypted_and_the_end_is_clean(start_server: StartServer, certificates: Certificates) -> None:
    """An error arrives completely before the connection ends, and the end is announced with `close_notify`."""
    server = start_server(certificates.block() + "authorization { token: secret }")
    with bare(server) as sock:
        read_line(sock)
        with encrypt(sock, certificates) as tls:
            tls.sendall(b'CONNECT {"auth_token":"wrong"}\r\n')
            assert read_line(tls) == b"-ERR 'Authorization Violation'\r\n"
            assert tls.recv(100) == b"", "no ragged end"


def test_the_handshake_comes_first(start_server: StartServer, certificates: Certificates) -> None:
    """With `handshake_first`, INFO is only sent encrypted; with `auto`, old clients still get it unencrypted."""
    server = start_server(certificates.block("handshake_first: true"))
    with bare(server) as sock, encrypt(sock, certificates) as tls:
        assert read_line(tls).startswith(b"INFO ")
        (connection,) = server.get_json("/connz")["connections"]
        assert connection["tls_first"] is True
    server = start_server(certificates.block("handshake_first: auto"))
    with bare(server) as sock, encrypt(sock, certificates) as tls:
        assert read_line(tls).startswith(b"INFO ")
    with bare(server) as sock:
        assert read_line(sock).startswith(b"INFO ")
        with encrypt(sock, certificates) as tls:
            tls.sendall(b"CONNECT {}\r\nPING\r\n")
            assert read_line(tls) == b"+OK\r\n"


def test_encryption_on_offer(start_server: StartServer, certificates: Certificates) -> None:
    """With `allow_non_tls`, encrypted and unencrypted clients exchange messages."""
    server = start_server("allow_non_tls: true\n" + certificates.block())
    with bare(server) as plain, bare(server) as sock:
        assert b'"tls_available":true' in read_line(plain)
        read_line(sock)
        with encrypt(sock, certificates) as tls:
            for side in (plain, tls):
                side.sendall(b'CONNECT {"verbose":false}\r\nSUB both 1\r\nPING\r\n')
                assert read_line(side) == b"PONG\r\n"
            kinds = ["tls_version" in connection for connection in server.get_json("/connz")["connections"]]
            assert sorted(kinds) == [False, True]
            body = b"x" * 100_000
            for side in (plain, tls):
                side.sendall(b"PUB both 100000\r\n" + body + b"\r\n")
                for reader in (plain, tls):
                    assert read_line(reader) == b"MSG both 1 100000\r\n"
                    assert read_line(reader) == body + b"\r\n"


def test_a_client_that_never_reads(start_server: StartServer, certificates: Certificates) -> None:
    """An encrypted slow consumer is detected too, and others are still served."""
    server = start_server("max_pending: 4MB\n" + certificates.block())
    with bare(server) as deaf, bare(server) as loud:
        for sock in (deaf, loud):
            read_line(sock)
        with encrypt(deaf, certificates) as deaf_tls, encrypt(loud, certificates) as loud_tls:
            deaf_tls.sendall(b'CONNECT {"verbose":false}\r\nSUB flood 1\r\nPING\r\n')
            assert read_line(deaf_tls) == b"PONG\r\n"
            loud_tls.sendall(b'CONNECT {"verbose":false}\r\n')
            frame = b"PUB flood 100000\r\n" + b"x" * 100_000 + b"\r\n"
            for _ in range(400):
                loud_tls.sendall(frame)
            loud_tls.sendall(b"PING\r\n")
            assert read_line(loud_tls) == b"PONG\r\n"
    wait_for(lambda: any("Slow Consumer" in reason for reason in close_reasons(server)), "the slow consumer")


@pytest.mark.asyncio
async def test_reconnection_and_new_certificates(start_server: StartServer, certificates: Certificates) -> None:
    """After SIGHUP, new connections get the new certificate and old ones continue; clients survive a restart."""
    server = start_server(certificates.block())

    def shown() -> bytes | None:
        with bare(server) as sock:
            read_line(sock)
            with encrypt(sock, certificates) as tls:
                return tls.getpeercert(binary_form=True)

    events = Events()
    async with secured(server, certificates, events) as nc:
        sub = await nc.subscribe("a")
        await barrier(nc)
        before = shown()
        certificates.issue("server")
        server.signal(signal.SIGHUP)
        await eventually(lambda: "Reloaded server configuration" in server.log(), "the reload")
        assert "Reloaded: tls = enabled" in server.log()
        assert shown() != before
        await nc.publish("a", b"still there")
        assert await received(sub, 1) == [b"still there"]

        certificates.key_file.write_text("no key at all")
        server.signal(signal.SIGHUP)
        await eventually(lambda: "error parsing X509 certificate/key pair" in server.log(), "the refusal")
        assert shown() is not None, "a reload that fails leaves what works"

        certificates.issue("server")
        server.kill()
        server.restart()
        await eventually(lambda: events.reconnected == 1, "the reconnection")
        await nc.publish("a", b"again")
        assert await received(sub, 1) == [b"again"]
