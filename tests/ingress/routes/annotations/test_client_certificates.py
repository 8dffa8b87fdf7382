import base64

import pytest

from ingress.routes.annotations import client_certificates
from ingress.routes.annotations.wishes import ClientAuthWish
from lb.cluster.objects import Metadata, Secret
from tests.ingress.proxy.tls_peers import Authority
from tests.ingress.routes.annotations.reading import read

OURS = Authority()
REVOKED = OURS.revocations(OURS.issue("gone"))


def secret(**values: bytes) -> Secret:
    data = {name.replace("_", "."): base64.b64encode(value).decode() for name, value in values.items()}
    return Secret(metadata=Metadata(name="ours", namespace="shop"), data=data)


GOOD = secret(ca_crt=OURS.pem)


def test_defaults() -> None:
    wishes, problems = read(client_certificates, {"auth-tls-secret": "shop/ours"}, objects=(GOOD,))
    assert (wishes.client_auth, problems) == (ClientAuthWish(OURS.pem), [])


def test_all_of_it() -> None:
    annotations = {
        "auth-tls-secret": "ours",
        "auth-tls-verify-client": "optional_no_ca",
        "auth-tls-verify-depth": "3",
        "auth-tls-error-page": "https://www.example.com/why",
        "auth-tls-pass-certificate-to-upstream": "true",
        "auth-tls-match-cn": "CN=(a|b)",
    }
    wishes, problems = read(client_certificates, annotations, objects=(secret(ca_crt=OURS.pem, ca_crl=REVOKED),))
    assert problems == []
    found = wishes.client_auth
    assert found == ClientAuthWish(
        OURS.pem.rstrip() + b"\n" + REVOKED, "optional_no_ca", 3, True, "https://www.example.com/why", "CN=(a|b)"
    )


def test_off() -> None:
    annotations = {"auth-tls-secret": "ours", "auth-tls-verify-client": "off"}
    wishes, problems = read(client_certificates, annotations, objects=(GOOD,))
    assert (wishes.client_auth, problems) == (None, [])


@pytest.mark.parametrize(
    ("annotations", "objects", "reported"),
    [
        ({"auth-tls-secret": "ours"}, (), "auth-tls-secret"),
        ({"auth-tls-secret": "other/ours"}, (GOOD,), "auth-tls-secret"),
        ({"auth-tls-secret": "ours"}, (secret(tls_crt=OURS.pem),), "auth-tls-secret"),
        ({"auth-tls-secret": "ours"}, (secret(ca_crt=b"x"),), "auth-tls-secret"),
        ({"auth-tls-secret": "ours"}, (secret(ca_crt=OURS.pem, ca_crl=b"x"),), "auth-tls-secret"),
        ({"auth-tls-secret": "ours", "auth-tls-match-cn": "shop"}, (GOOD,), "auth-tls-match-cn"),
        ({"auth-tls-secret": "ours", "auth-tls-match-cn": "CN=("}, (GOOD,), "auth-tls-match-cn"),
        ({"auth-tls-secret": "ours", "auth-tls-match-cn": "CN=\x01"}, (GOOD,), "auth-tls-match-cn"),
    ],
)
def test_what_is_wrong_closes(annotations: dict[str, str], objects: tuple[Secret, ...], reported: str) -> None:
    wishes, problems = read(client_certificates, annotations, objects=objects)
    assert set(problems) == {reported}
    assert wishes.client_auth is not None
    assert wishes.client_auth.ca_pem == b""


@pytest.mark.parametrize(
    ("name", "value"),
    [("auth-tls-verify-client", "perhaps"), ("auth-tls-verify-depth", "deep"), ("auth-tls-error-page", "/why")],
)
def test_what_is_wrong_and_harmless(name: str, value: str) -> None:
    wishes, problems = read(client_certificates, {"auth-tls-secret": "ours", name: value}, objects=(GOOD,))
    assert problems == [name]
    assert wishes.client_auth == ClientAuthWish(OURS.pem), "the strictest counts"


def test_without_a_secret_it_has_no_effect_and_that_is_said() -> None:
    wishes, problems = read(client_certificates, {"auth-tls-verify-client": "on", "auth-tls-match-cn": "CN=a"})
    assert (wishes.client_auth, problems) == (None, ["auth-tls-verify-client", "auth-tls-match-cn"])
