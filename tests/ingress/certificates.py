"""TLS secrets for tests."""

import base64
import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from lb.cluster.objects import Metadata, Secret


def make_pair(*hosts: str) -> tuple[bytes, bytes]:
    """A self-signed certificate for these hosts and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return certificate_of(key, *hosts), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def certificate_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *hosts: str) -> bytes:
    """A certificate for these hosts that the key has signed itself, in PEM."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, hosts[0])])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def tls_secret(name: str, *hosts: str, namespace: str = "shop", key_of_another: bool = False) -> Secret:
    chain, key = make_pair(*hosts)
    if key_of_another:
        key = make_pair(*hosts)[1]
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    return Secret(metadata=Metadata(name=name, namespace=namespace), type="kubernetes.io/tls", data=data)
