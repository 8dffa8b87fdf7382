"""The certificate that TLS clients see where no Ingress gives one: self-signed, made anew at each start."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingress.routes.model import EVERY_HOST, Certificate

NAME = "ingress.local"
"""This and the subject are ingress-nginx's, by which people tell it."""
VALID_DAYS = 365


def make_default_certificate() -> Certificate:
    """A fresh P-256 key and a certificate that nobody trusts: it tells apart "no certificate" from "no TLS"."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Acme Co"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "Kubernetes Ingress Controller Fake Certificate"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(EVERY_HOST, "default", certificate.public_bytes(Encoding.PEM), key_pem)
