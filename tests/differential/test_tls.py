"""TLS: its fields in INFO and monitoring, handshakes and alerts, compared with the real server."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certificates import Certificates
from tests.support.waiting import PATIENCE_S

from .servers import Programs, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.process import ServerProcess

NOT_YET = {"tls_cert_not_after"}
"""Fields that ours lacks."""


def info(server: ServerProcess) -> dict[str, Any]:
    """Returns the fields of INFO about TLS."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
        line = sock.makefile("rb").readline()
    return {key: value for key, value in json.loads(line.removeprefix(b"INFO ")).items() if "tls" in key}


def handshake(server: ServerProcess, context: ssl.SSLContext) -> tuple[str | None, dict[str, Any]]:
    """Returns the TLS version and cipher suite of a connection, and those that connz reports."""
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
    """INFO and varz have the same fields about TLS."""
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
    """Both servers select the same version and cipher suite, and report them with the same names."""
    certificates = Certificates(tmp_path)
    context = certificates.context()
    context.maximum_version = newest
    with running(programs, certificates.block()) as two:
        assert handshake(two.ours, context) == handshake(two.oracle, context)


def outcome(server: ServerProcess, context: ssl.SSLContext) -> str:
    """Connects with the certificate of the context, if any; returns "PONG" if accepted, else the name of the alert."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as sock:
        line = b""
        while not line.endswith(b"\n"):
            line += sock.recv(1)
        try:
            with context.wrap_socket(sock, server_hostname="127.0.0.1") as tls:
                tls.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
                return tls.recv(4).decode()
        except ssl.SSLError as error:
            return str(error.reason)


CLIENTS: dict[str, Callable[[Certificates], Path | None]] = {
    "good": lambda own: own.client(),
    "without purposes": lambda own: own.client(usage=None),
    "none": lambda own: None,
    "of a stranger": lambda own: Certificates(own.folder / "other").client(),
    "forged in the name of the authority": lambda own: own.client(forged=True),
    "expired": lambda own: own.client(days=(-2, -1)),
    "not yet valid": lambda own: own.client(days=(1, 2)),
    "for servers": lambda own: own.client(usage=ExtendedKeyUsageOID.SERVER_AUTH),
}

OTHER_ALERTS = {
    ("none", ssl.TLSVersion.TLSv1_2): "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    ("for servers", ssl.TLSVersion.TLSv1_2): "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    ("for servers", ssl.TLSVersion.TLSv1_3): "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
}
"""Alerts of rustls that are more specific than those of Go ("handshake failure" and "bad certificate")."""


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", CLIENTS)
def test_why_clients_are_refused(programs: Programs, tmp_path: Path, kind: str, newest: ssl.TLSVersion) -> None:
    """Clients with bad certificates get the same alert as from Go's TLS, which programs check."""
    certificates = Certificates(tmp_path)
    (tmp_path / "other").mkdir()
    context = certificates.context()
    context.maximum_version = newest
    if file := CLIENTS[kind](certificates):
        context.load_cert_chain(file)
    block = certificates.block("verify: true", f'ca_file: "{certificates.authority_file}"')
    with running(programs, block) as two:
        oracle = outcome(two.oracle, context)
        assert (oracle == "PONG") == (kind in {"good", "without purposes"})
        assert outcome(two.ours, context) == OTHER_ALERTS.get((kind, newest), oracle)


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
    """Both servers refuse to start with an invalid `tls` block."""
    import subprocess

    config = tmp_path / "bad.conf"
    config.write_text(f"listen: '127.0.0.1:-1'\n{block}\n")
    codes = []
    for program in programs:
        ended = subprocess.run([program, "-c", config], capture_output=True, timeout=PATIENCE_S, check=False)
        codes.append(ended.returncode)
        assert b"bad.conf:2:" in ended.stderr, ended.stderr
    assert codes == [1, 1]
