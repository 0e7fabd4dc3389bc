"""A certificate that nobody but its owner signed, made afresh by each stand-in at its start."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

_LIFETIME = timedelta(days=7)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for `localhost` and 127.0.0.1, and its private key; both PEM."""

    certificate: bytes
    key: bytes

    def context(
        self, *, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, protocols: tuple[str, ...] = ()
    ) -> ssl.SSLContext:
        """A server's TLS context with it.

        Args:
            newest: version above which nothing is offered.
            protocols: what ALPN offers; none for no ALPN.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        if protocols:
            context.set_alpn_protocols(list(protocols))
        # OpenSSL reads chains from files only; mkstemp's are readable by their owner alone.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self.key + self.certificate)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def write(self, path: Path) -> None:
        """Write the certificate, not its key, for clients that shall trust it."""
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True)
        path.write_bytes(self.certificate)


def make_certificate(name: str) -> Certificate:
    """Make a self-signed certificate.

    An elliptic key, as making one takes under a millisecond; RSA's takes a hundred.

    Args:
        name: who it says it is; SQL Server's own say `SSL_Self_Signed_Fallback`.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
