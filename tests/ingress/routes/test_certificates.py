"""What a Secret must hold."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ingress.routes.certificates import BadSecret, read_pair
from lb.cluster.objects import Metadata, Secret
from tests.ingress.certificates import certificate_of, make_pair, tls_secret


def secret(**string_data: str) -> Secret:
    found = {name.replace("_", "."): value for name, value in string_data.items()}
    return Secret(metadata=Metadata(name="s", namespace="shop"), string_data=found)


def test_a_good_one() -> None:
    chain, key = read_pair(tls_secret("s", "a.example"))
    assert b"BEGIN CERTIFICATE" in chain
    assert b"PRIVATE KEY" in key


def test_plain_text_wins_over_base64() -> None:
    chain, key = make_pair("a.example")
    found = Secret(
        metadata=Metadata(name="s"),
        data={"tls.crt": base64.b64encode(b"old").decode()},
        string_data={"tls.crt": chain.decode(), "tls.key": key.decode()},
    )
    assert read_pair(found) == (chain, key)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (secret(), "it has no tls.crt"),
        (secret(tls_crt=make_pair("a")[0].decode()), "it has no tls.key"),
        (secret(tls_crt="rubbish", tls_key="rubbish"), "tls.crt is not a certificate in PEM"),
        (secret(tls_crt=make_pair("a")[0].decode(), tls_key="rubbish"), "tls.key is not a private key in PEM"),
        (secret(tls_crt=make_pair("a")[0].decode(), tls_key=make_pair("a")[1].decode()), "tls.key is not the key of"),
        (Secret(metadata=Metadata(name="s"), data={"tls.crt": "%%%"}), "tls.crt is not base64"),
    ],
)
def test_a_bad_one(found: Secret, reason: str) -> None:
    with pytest.raises(BadSecret, match=reason):
        read_pair(found)


def test_an_rsa_key_whose_numbers_do_not_belong_together() -> None:
    """Its public half is the certificate's; what it signs nobody could verify."""
    key = rsa.generate_private_key(65537, 2048)
    good = key.private_numbers()
    wrong = rsa.RSAPrivateNumbers(good.p, good.q, good.d + 2, good.dmp1, good.dmq1, good.iqmp, good.public_numbers)
    chain = certificate_of(key, "a.example")
    for each, fits in ((key, True), (wrong.private_key(unsafe_skip_rsa_key_validation=True), False)):
        pem = each.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        found = secret(tls_crt=chain.decode(), tls_key=pem.decode())
        if fits:
            assert read_pair(found) == (chain, pem)
        else:
            with pytest.raises(BadSecret, match=r"tls.key is not an RSA key: its numbers do not belong together"):
                read_pair(found)
