import pytest

from ingress.filters.api import ClientCertificate, Reply
from ingress.filters.certificate import CLOSED, STRANGER, Certificate, CertificateSpecification
from tests.ingress.filters.asked import Asked, Desk


def told(pattern: str, subject: str | None) -> Reply | None:
    shown = None if subject is None else ClientCertificate("SUCCESS", subject, "CN=ca", "")
    return Certificate(CertificateSpecification(pattern), Desk()).request(Asked(client_certificate=shown))


@pytest.mark.parametrize(
    ("pattern", "subject", "passes"),
    [
        ("CN=shop", "CN=shop,O=Wharf", True),
        ("CN=shop", "O=Wharf,CN=shop", True),
        ("CN=shop$", "CN=shop,O=Wharf", False),
        ("CN=(shop|cart)", "CN=cart", True),
        ("CN=notvalid", "CN=shop", False),
        ("CN=shop", "", False),
        ("CN=shop", None, False),
    ],
)
def test_whose_it_is(pattern: str, subject: str | None, passes: bool) -> None:
    assert told(pattern, subject) == (None if passes else STRANGER)


def test_closed() -> None:
    found = Certificate(CertificateSpecification(closed=True), Desk())
    assert found.request(Asked(client_certificate=ClientCertificate("SUCCESS", "CN=a", "CN=b", ""))) == CLOSED


def test_what_is_no_pattern() -> None:
    with pytest.raises(ValueError, match="pattern"):
        told("CN=(", "CN=a")
