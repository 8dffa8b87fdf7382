"""Another backend instead of an error, or of nobody."""

from typing import Any

import pytest

from ingress.filters.api import Elsewhere
from ingress.filters.errors import Errors, ErrorsSpecification
from tests.ingress.filters.asked import Answered, Asked, Desk

PAGES = "shop/pages:80"
BOTH = {"shop/cart:80": ("10.0.0.1:80",), PAGES: ("10.0.0.9:80",)}


def made(**how: Any) -> Errors:
    return Errors(ErrorsSpecification(PAGES, **how), Desk())


def test_241_a_listed_status_is_replaced() -> None:
    request = Asked(
        "/missing?x=1", headers=(("Accept", "text/html"),), authority="shop.example.com:8080", backends=BOTH
    )
    assert made(statuses=(404, 500)).response(request, Answered(404)) == Elsewhere(
        PAGES,
        "/",
        (
            ("X-Code", "404"),
            ("X-Format", "text/html"),
            ("X-Namespace", "shop"),
            ("X-Ingress-Name", "web"),
            ("X-Service-Name", "cart"),
            ("X-Service-Port", "80"),
            ("X-Request-ID", request.id),
            ("X-Original-URI", "/missing?x=1"),
            ("Host", "shop.example.com:8080"),
        ),
    )


@pytest.mark.parametrize(
    ("how", "response", "replaced"),
    [
        pytest.param({"statuses": (404,)}, Answered(503), False, id="242"),
        pytest.param({"statuses": (404,), "own_only": True}, Answered(404), False, id="243"),
        pytest.param({"statuses": (503,), "own_only": True}, Answered(503, own=True), True, id="243 of our own"),
        pytest.param({"statuses": (503,)}, Answered(503, own=True), True, id="of our own"),
    ],
)
def test_which_responses(how: dict[str, Any], response: Answered, replaced: bool) -> None:
    assert (made(**how).response(Asked(backends=BOTH), response) is not None) is replaced


def test_an_error_stays_if_nobody_can_replace_it() -> None:
    assert made(statuses=(404,)).response(Asked(), Answered(404)) is None
    assert made(statuses=(404,)).response(Asked(backend=PAGES, backends=BOTH), Answered(404)) is None


def test_244_a_default_backend_gets_what_nobody_else_takes() -> None:
    request = Asked("/a", backends={PAGES: ("10.0.0.9:80",)}, labels=("shop", "web", "invalid", "80", "/"))
    made(stands_in=True).request(request)
    assert request.backend == PAGES
    sent = dict(request.sent)
    assert (sent["X-Code"], sent["X-Service-Name"], sent["X-Request-ID"]) == ("503", "invalid", request.id)


@pytest.mark.parametrize("how", [{"stands_in": True, "there": BOTH}, {"stands_in": False, "there": {}}], ids=str)
def test_244_and_nothing_else(how: dict[str, Any]) -> None:
    request = Asked(backends=how.pop("there"))
    made(**how).request(request)
    assert request.backend == "shop/cart:80"
    assert "X-Code" not in dict(request.sent)
