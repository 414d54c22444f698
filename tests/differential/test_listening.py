"""Listen addresses, the ports file, pings and stale connections, compared with the real server."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Certificates
from tests.support.process import ServerProcess
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.wire import Wire

from .servers import Programs, running

if TYPE_CHECKING:
    from pathlib import Path

FIRST_PING_S = 2.4
"""Seconds after which a client without CONNECT would have its first ping, if the interval began with the connection."""


def write_fails(sock: socket.socket) -> bool:
    """Returns whether a write to the peer fails."""
    try:
        sock.sendall(b"PING\r\n")
    except OSError:
        return True
    return False


def ports(server: ServerProcess) -> dict[str, list[str]]:
    """Returns the ports file, with the port number replaced by `PORT`."""
    (path,) = server.directory.glob("*.ports")
    ports = json.loads(path.read_text()).items()
    return {key: sorted(f"{url.rpartition(':')[0]}:PORT" for url in urls) for key, urls in ports}


def test_ports_file_of_all_addresses(programs: Programs) -> None:
    """A server that listens on all addresses lists the addresses of all interfaces."""
    with running(programs, args=["--addr", "0.0.0.0"]) as (oracle, ours):
        assert ports(ours) == ports(oracle)
        assert "nats://127.0.0.1:PORT" in ports(ours)["nats"]


def test_ports_file_of_an_encrypted_listener(programs: Programs, tmp_path: Path) -> None:
    """The URLs of a listener that requires TLS begin with `tls://`."""
    with running(programs, Certificates(tmp_path).block()) as (oracle, ours):
        assert ports(ours) == ports(oracle)
        assert ports(ours)["nats"] == ["tls://127.0.0.1:PORT"]


def test_a_name_with_addresses_of_both_families(programs: Programs) -> None:
    """`localhost` is bound at its first IPv4 address, regardless of the order of the system's resolver."""
    with running(programs, args=["--addr", "localhost"]) as (oracle, ours):
        assert ports(ours) == ports(oracle)
        socket.create_connection((socket.inet_ntoa(b"\x7f\0\0\1"), ours.port), timeout=PATIENCE_S).close()


def test_no_ping_before_connect(programs: Programs) -> None:
    """A client that has not sent CONNECT, or may still do a TLS handshake, gets no ping within the first interval."""
    with running(programs) as two, ExitStack() as stack:
        silent = [stack.enter_context(Wire(server.port)) for server in two]
        deadline = time.monotonic() + FIRST_PING_S + 0.3
        for wire in silent:
            wire.expect(b"INFO")
            with pytest.raises(TimeoutError):
                wire.read_until(lambda _: True, max(deadline - time.monotonic(), 0.01))


def test_a_stale_connection_is_closed_at_once(programs: Programs) -> None:
    """Writes of the client fail soon, because the server no longer reads from the connection."""
    with running(programs, 'ping_interval: "50ms"\nping_max: 1') as two:
        for server in two:
            with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as stale:
                stale.sendall(b"CONNECT {}\r\n")
                text = b""
                while b"Stale Connection" not in text:
                    text += stale.recv(1000)
                began = time.monotonic()
                while not write_fails(stale):
                    assert time.monotonic() < began + 0.09, "input is read on for a tenth of a second"


def test_jetstream_that_does_not_start_is_in_the_log_file(programs: Programs, tmp_path: Path) -> None:
    """The reason is the last line of the log file, and the program fails."""
    (tmp_path / "file").write_text("no directory")
    for name, program in programs._asdict().items():
        log = tmp_path / f"{name}.log"
        command = [program, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", tmp_path / "file", "-l", log]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stderr) == (1, "")
        last = log.read_text().splitlines()[-1]
        assert "[FTL] Can't start JetStream: storage directory is not a directory" in last


def test_healthz_waits_for_jetstream(programs: Programs, tmp_path: Path) -> None:
    """Early requests get "unavailable" or no answer, but never "ok" before clients are served."""
    config = f'jetstream {{ store_dir: "{tmp_path}" }}'
    server = ServerProcess(programs.ours, config)
    with server:
        wait_for(lambda: server.get_json("/healthz") == {"status": "ok"}, "health")
        assert server.get_json("/healthz?js-server-only=true") == {"status": "ok"}
        assert server.get_json("/healthz?js-enabled-only=true") == {"status": "ok"}
