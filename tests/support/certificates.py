"""Certificates for tests, new in each run: of an authority, a server and a client."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING, final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509 import ObjectIdentifier

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH


@final
class Certificates:
    """PEM files in a folder, with the TLS settings of servers and clients that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.authority_file))
        self.certificate_file, self.key_file = self.issue("server")
        self.client_certificate_file, self.client_key_file = self.issue("client")

    def issue(self, name: str) -> tuple[Path, Path]:
        """Issues a certificate for the loopback address, replacing one of this name; returns its and the key's file."""
        leaf = self.authority.issue_cert("127.0.0.1", "localhost")
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        certificate.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return certificate, key

    def client(
        self, *, days: tuple[int, int] = (-1, 1), usage: ObjectIdentifier | None = CLIENT_AUTH, forged: bool = False
    ) -> Path:
        """Returns a file with a client's certificate and key.

        The certificate is valid between the two `days`, relative to now, for `usage`. A forged one has another signer.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        authority = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        signer = serialization.load_pem_private_key(self.authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0]))
            .not_valid_after(now + dt.timedelta(days=days[1]))
        )
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(ec.generate_private_key(ec.SECP256R1()) if forged else signer, hashes.SHA256())
        file = self.folder / "made.pem"
        pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(*pkcs8))
        return file

    def block(self, *entries: str) -> str:
        """Returns the `tls` block of a server's configuration, with more entries."""
        lines = [f'cert_file: "{self.certificate_file}"', f'key_file: "{self.key_file}"', *entries]
        return "tls {\n  " + "\n  ".join(lines) + "\n}\n"

    def context(self, *, client_certificate: bool = False) -> ssl.SSLContext:
        """Returns the TLS context of a client that trusts the server, optionally with a client certificate."""
        context = ssl.create_default_context(cafile=str(self.authority_file))
        if client_certificate:
            context.load_cert_chain(str(self.client_certificate_file), str(self.client_key_file))
        return context
