"""Certificates for tests, made anew each time: an authority, a server's, a client's."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, final

import trustme

if TYPE_CHECKING:
    from pathlib import Path


@final
class Certificates:
    """PEM files in a folder, and what clients make of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.authority_file))
        self.certificate_file, self.key_file = self.issue("server")
        self.client_certificate_file, self.client_key_file = self.issue("client")

    def issue(self, name: str) -> tuple[Path, Path]:
        """Makes a certificate for the loopback address, in place of one of the same name; its file and its key's."""
        leaf = self.authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return certificate, key

    def block(self, *entries: str) -> str:
        """The `tls` block of a server, with further entries."""
        lines = [f'cert_file: "{self.certificate_file}"', f'key_file: "{self.key_file}"', *entries]
        return "tls {\n  " + "\n  ".join(lines) + "\n}\n"

    def context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """What a client needs to trust the server, and to be trusted if asked for."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        if client_certificate:
            context.load_cert_chain(str(self.client_certificate_file), str(self.client_key_file))
        return context
