"""Which requests go to the canary."""

from collections.abc import Callable
from typing import Any

import pytest

from ingress.filters.canary import Canary, CanarySpecification
from ingress.filters.sessions import backend_mark
from tests.ingress.filters.asked import Asked, Desk

MAIN, NEW = "shop/cart:80", "shop/cart-new:80#1f"
BACKENDS = {MAIN: ("10.0.0.1:80",), NEW: ("10.0.0.2:80",)}


def goes_to_canary(specification: dict[str, Any], *headers: tuple[str, str], chance: float = 0.5, **how: Any) -> bool:
    request = Asked(headers=headers, backends=how.pop("backends", BACKENDS), **how)
    Canary(CanarySpecification(NEW, **specification), Desk(chance=chance)).request(request)
    assert (request.backend == NEW) == (request.alternative == NEW)
    return request.backend == NEW


HEADER = {"header": "X-Beta"}
VALUE = {"header": "X-Beta", "header_value": "DoCanary"}
PATTERN = {"header": "X-Beta", "header_pattern": "^Do[A-Z][a-z]+y$"}


@pytest.mark.parametrize(
    ("specification", "headers", "wanted"),
    [
        pytest.param(HEADER, [("x-beta", "always")], True, id="4"),
        pytest.param(HEADER, [("X-Beta", "never")], False, id="5"),
        pytest.param(HEADER, [("X-Beta", "perhaps")], False, id="6"),
        pytest.param(HEADER, [], False, id="6"),
        pytest.param({**HEADER, "weight": 100}, [("X-Beta", "perhaps")], True, id="6"),
        pytest.param(VALUE, [("X-Beta", "DoCanary")], True, id="7"),
        *(pytest.param(VALUE, [("X-Beta", each)], False, id="8") for each in ("always", "never", "badheadervalue")),
        pytest.param(PATTERN, [("X-Beta", "DoCanary")], True, id="9"),
        pytest.param(PATTERN, [("X-Beta", "Docanary")], False, id="10"),
        pytest.param({**VALUE, **PATTERN}, [("X-Beta", "DoCanary")], True, id="11"),
        pytest.param({**VALUE, **PATTERN}, [("X-Beta", "DoFerry")], False, id="11"),
        pytest.param({"header": "X-Beta", "header_pattern": "[[", "cookie": "c"},
                     [("X-Beta", "x"), ("Cookie", "c=always")], False, id="12"),
        pytest.param({"header": "X-Beta", "header_pattern": "[[", "cookie": "c"},
                     [("Cookie", "c=always")], True, id="12 without the header"),
        pytest.param({**VALUE, "cookie": "c"}, [("X-Beta", "no"), ("Cookie", "c=always")], True, id="13"),
        pytest.param({**VALUE, "cookie": "c"}, [("X-Beta", "never"), ("Cookie", "c=always")], True, id="13"),
        pytest.param({"cookie": "c"}, [("Cookie", "a=b; c=always")], True, id="14"),
        pytest.param({"cookie": "c"}, [("Cookie", "c=never")], False, id="15"),
        pytest.param({"cookie": "c"}, [("Cookie", "c=bad")], False, id="16"),
        pytest.param({**HEADER, "cookie": "c", "weight": 100},
                     [("X-Beta", "never"), ("Cookie", "c=always")], False, id="17"),
        pytest.param({**HEADER, "cookie": "c", "weight": 100}, [("Cookie", "c=never")], False, id="18"),
    ],
)  # fmt: skip
def test_header_then_cookie_then_weight(
    specification: dict[str, Any], headers: list[tuple[str, str]], wanted: bool
) -> None:
    assert goes_to_canary(specification, *headers) is wanted


@pytest.mark.parametrize(
    ("weight", "total", "chance", "wanted"),
    [
        pytest.param(0, 100, 0.0, False, id="19"),
        pytest.param(100, 100, 0.999999, True, id="20"),
        pytest.param(1000, 1000, 0.999999, True, id="21"),
        pytest.param(50, 100, 0.49, True, id="22"),
        pytest.param(50, 100, 0.5, False, id="22"),
        pytest.param(100, 200, 0.49, True, id="23"),
        pytest.param(100, 200, 0.5, False, id="23"),
        pytest.param(150, 100, 0.999999, True, id="more than all"),
    ],
)
def test_by_weight(weight: int, total: int, chance: float, wanted: bool) -> None:
    assert goes_to_canary({"weight": weight, "weight_total": total}, chance=chance) is wanted


def test_30_a_canary_without_endpoints_takes_nothing() -> None:
    assert not goes_to_canary({"weight": 100}, backends={MAIN: ("10.0.0.1:80",), NEW: ()})
    assert not goes_to_canary({"weight": 100}, backends={MAIN: ("10.0.0.1:80",)})


def session(backend: str) -> Callable[[], list[tuple[str, str]]]:
    return lambda: [("Cookie", f"S=k|{backend_mark(backend)}")]


@pytest.mark.parametrize(
    ("backend", "specification", "wanted"),
    [
        pytest.param(NEW, {"weight": 0}, True, id="31"),
        pytest.param(MAIN, {"weight": 100}, False, id="33"),
        pytest.param(MAIN, {**HEADER, "weight": 100, "legacy": True}, False, id="33 legacy"),
        pytest.param(NEW, {"weight": 0, "legacy": True}, False, id="32"),
        pytest.param("shop/other:80", {"weight": 100}, True, id="of another backend"),
    ],
)
def test_sessions(backend: str, specification: dict[str, Any], wanted: bool) -> None:
    assert goes_to_canary({**specification, "session": "S"}, *session(backend)()) is wanted
