"""A Secret -> a certificate chain and its key, or what is wrong with it."""

import base64
import binascii

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from lb.cluster.objects import Secret

CHAIN, KEY = "tls.crt", "tls.key"
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class BadSecret(Exception):
    """The Secret holds no usable certificate."""


def read_pair(secret: Secret) -> tuple[bytes, bytes]:
    """Return chain and key in PEM; BadSecret says what is wrong. The key must belong to the first certificate."""
    chain_pem, key_pem = _value(secret, CHAIN), _value(secret, KEY)
    try:
        first = x509.load_pem_x509_certificates(chain_pem)[0]
        certified = first.public_key().public_bytes(*_SPKI)
    except Exception as error:
        # The library's errors are of many types (ValueError, UnsupportedAlgorithm, ...); all mean the same here.
        raise BadSecret(f"{CHAIN} is not a certificate in PEM ({_words(error)})") from None
    try:
        owned = load_pem_private_key(key_pem, password=None).public_key().public_bytes(*_SPKI)
    except Exception as error:
        raise BadSecret(f"{KEY} is not a private key in PEM ({_words(error)})") from None
    if owned != certified:
        raise BadSecret(f"{KEY} is not the key of the first certificate in {CHAIN}")
    return chain_pem, key_pem


def _value(secret: Secret, name: str) -> bytes:
    plain = (secret.string_data or {}).get(name)
    if plain is not None:
        return plain.encode()
    encoded = (secret.data or {}).get(name)
    if encoded is None:
        raise BadSecret(f"it has no {name}")
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except binascii.Error:
        raise BadSecret(f"{name} is not base64; plain text goes under stringData") from None


def _words(error: Exception) -> str:
    return str(error).split("\n")[0].split(". ")[0][:120] or type(error).__name__
