"""Certificates of an authority of our own, and what both ends of TLS need in tests."""

import datetime
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate (PEM) and its key."""

    pem: bytes
    key: bytes


def _name(text: str) -> x509.Name:
    organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Wharf, Inc")
    return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "Authority") -> None:
        self.name = _name(name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        made = self._builder(self.name, self.key, -DAY, DAY)
        self.certificate = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
            self.key, hashes.SHA256()
        )
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime.timedelta, end: datetime.timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
        )

    def issue(self, name: str, *, expired: bool = False) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            alternative = x509.DNSName(name.replace(" ", "-"))
        begin, end = (-2 * DAY, -DAY) if expired else (-DAY, DAY)
        made = (
            self._builder(_name(name), key, begin, end)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(made.public_bytes(Encoding.PEM), plain)

    def revocations(self, *revoked: Pair) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateRevocationListBuilder().issuer_name(self.name).last_update(now - DAY).next_update(now + DAY)
        )
        for each in revoked:
            number = x509.load_pem_x509_certificate(each.pem).serial_number
            one = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now - DAY).build()
            made = made.add_revoked_certificate(one)
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def load(context: ssl.SSLContext, pair: Pair) -> ssl.SSLContext:
    """Let a context show this certificate; Python takes it from files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.write_bytes(pair.pem + pair.key)
        context.load_cert_chain(path)
    return context


def server(pair: Pair) -> ssl.SSLContext:
    return load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair)
