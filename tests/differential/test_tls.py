"""Encryption: what is said of it in the clear and in monitoring, ours against the real server."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.certificates import Certificates
from tests.support.waiting import PATIENCE_S

from .servers import Programs, running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.process import ServerProcess

NOT_YET = {"tls_cert_not_after"}
"""Fields that ours leaves out."""


def info(server: ServerProcess) -> dict[str, Any]:
    """The fields of INFO that speak of encryption."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
        line = sock.makefile("rb").readline()
    return {key: value for key, value in json.loads(line.removeprefix(b"INFO ")).items() if "tls" in key}


def handshake(server: ServerProcess, context: ssl.SSLContext) -> tuple[str | None, dict[str, Any]]:
    """The version and the cipher suite of a connection, and what connz says of them."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
        while not sock.recv(1, socket.MSG_PEEK):
            pass
        line = b""
        while not line.endswith(b"\n"):
            line += sock.recv(1)
        with context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
            tls.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            assert tls.recv(100).startswith(b"PONG")
            (connection,) = server.get_json("/connz")["connections"]
            return tls.version(), {key: value for key, value in connection.items() if "tls" in key}


@pytest.mark.parametrize(
    ("before", "entries"),
    [
        ("", ()),
        ("", ("timeout: 3",)),
        ("", ("verify: true", "CA")),
        ("allow_non_tls: true\n", ()),
        ("", ("min_version: '1.3'",)),
        ("authorization { token: t }\n", ("timeout: 0.5",)),
        ("authorization { token: t, timeout: 5 }\n", ()),
    ],
)
def test_what_is_said(programs: Programs, tmp_path: Path, before: str, entries: tuple[str, ...]) -> None:
    """INFO and varz tell of encryption in the same fields."""
    certificates = Certificates(tmp_path)
    entries = tuple(f'ca_file: "{certificates.authority_file}"' if entry == "CA" else entry for entry in entries)
    with running(programs, before + certificates.block(*entries)) as two:
        assert info(two.ours) == info(two.oracle)
        ours, oracle = (
            {key: value for key, value in server.get_json("/varz").items() if "tls" in key or key == "auth_timeout"}
            for server in (two.ours, two.oracle)
        )
        assert ours == {key: value for key, value in oracle.items() if key not in NOT_YET}


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_what_is_agreed(programs: Programs, tmp_path: Path, newest: ssl.TLSVersion) -> None:
    """Both servers agree on the same version and cipher suite, and name them alike."""
    certificates = Certificates(tmp_path)
    context = certificates.context()
    context.maximum_version = newest
    with running(programs, certificates.block()) as two:
        assert handshake(two.ours, context) == handshake(two.oracle, context)


@pytest.mark.parametrize(
    "block",
    [
        "tls { cert_file: '/no/cert.pem', key_file: '/no/key.pem' }",
        "tls { cert_file: 'x' }",
        "tls { key_file: 'x' }",
        "tls { min_version: '1.1' }",
        "tls { cert_file: 'x', nonsense: 1 }",
    ],
)
def test_what_is_refused(programs: Programs, tmp_path: Path, block: str) -> None:
    """Neither server starts with a block that it can't follow."""
    import subprocess

    config = tmp_path / "bad.conf"
    config.write_text(f"listen: '127.0.0.1:-1'\n{block}\n")
    codes = []
    for program in programs:
        ended = subprocess.run([program, "-c", config], capture_output=True, timeout=PATIENCE_S, check=False)
        codes.append(ended.returncode)
        assert b"bad.conf:2:" in ended.stderr, ended.stderr
    assert codes == [1, 1]
