"""Sessions: who goes where, and which cookie says so."""

from typing import Any

import pytest

from ingress.filters.affinity import Affinity, AffinitySpecification
from ingress.filters.sessions import backend_mark, endpoint_mark, takes_same_site_none
from tests.ingress.filters.asked import Answered, Asked, Desk

BACKEND = "shop/cart:80"
THREE = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80")
MARK = backend_mark(BACKEND)


def asked(cookie: str = "", **how: Any) -> Asked:
    headers = (("Cookie", cookie),) if cookie else ()
    return Asked(headers=(*headers, *how.pop("headers", ())), backends={BACKEND: how.pop("there", THREE)}, **how)


def run(request: Asked, response: Answered | None = None, chance: float = 0.5, **specification: Any) -> str | None:
    """The Set-Cookie of the response."""
    affinity = Affinity(AffinitySpecification(**specification), Desk(chance=chance))
    affinity.request(request)
    affinity.response(request, response or Answered(endpoint=request.pin or THREE[0]))
    return dict(request.told()).get("Set-Cookie")


KEY = "10000000000000"
NEW = f"INGRESSCOOKIE={KEY}|{MARK}"


@pytest.mark.parametrize(
    ("specification", "how", "wanted"),
    [
        pytest.param({}, {}, f"{NEW}; Path=/; HttpOnly", id="36"),
        pytest.param({"cookie": "SERVERID"}, {}, f"SERVERID={KEY}|{MARK}; Path=/; HttpOnly", id="34"),
        pytest.param({}, {"rule_path": "/something"}, f"{NEW}; Path=/something; HttpOnly", id="37"),
        pytest.param({"path": "/foo/bar"}, {"rule_path": "/foo/.*"},
                     f"{NEW}; Path=/foo/bar; HttpOnly", id="42"),
        pytest.param({"expires_seconds": 172800, "max_age_seconds": 259200}, {},
                     f"{NEW}; Expires=Thu, 16-Nov-23 22:13:20 GMT; Max-Age=259200; Path=/; HttpOnly",
                     id="39"),
        pytest.param({"domain": "foo.bar"}, {}, f"{NEW}; Domain=foo.bar; Path=/; HttpOnly", id="40"),
        pytest.param({"secure": True}, {}, f"{NEW}; Path=/; Secure; HttpOnly", id="46"),
        pytest.param({}, {"secure": True}, f"{NEW}; Path=/; Secure; HttpOnly", id="48"),
        pytest.param({"same_site": "Strict"}, {}, f"{NEW}; Path=/; HttpOnly; SameSite=Strict", id="49"),
        pytest.param({"same_site": "None", "conditional_none": True},
                     {"headers": (("User-Agent", "Mozilla/5.0 Chrome/66.0"),)},
                     f"{NEW}; Path=/; HttpOnly", id="50 old"),
        pytest.param({"same_site": "None", "conditional_none": True},
                     {"headers": (("User-Agent", "Mozilla/5.0 Chrome/121.0"),)},
                     f"{NEW}; Path=/; HttpOnly; SameSite=None", id="50 new"),
        pytest.param({"same_site": "None"}, {"headers": (("User-Agent", "Mozilla/5.0 Chrome/66.0"),)},
                     f"{NEW}; Path=/; HttpOnly; SameSite=None", id="unconditional"),
    ],
)  # fmt: skip
def test_the_cookie(specification: dict[str, Any], how: dict[str, Any], wanted: str) -> None:
    assert run(asked(**how), **specification) == wanted


@pytest.mark.parametrize("persistent", [False, True])
def test_51_a_session_goes_on_without_a_new_cookie(persistent: bool) -> None:
    key = endpoint_mark(THREE[1], BACKEND)
    request = asked(f"INGRESSCOOKIE={key}|{MARK}")
    assert run(request, persistent=persistent) is None
    assert request.pin_retries
    assert (request.pin, request.hash_key) == ((THREE[1], b"") if persistent else ("", key.encode()))


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("value", ["", "|", "abc", f"|{MARK}", f"abc|{backend_mark('shop/other:80')}", "a|b|c"])
def test_51_what_is_no_session_of_the_backend_begins_one(value: str, persistent: bool) -> None:
    request = asked(f"INGRESSCOOKIE={value}")
    cookie = run(request, persistent=persistent)
    key = endpoint_mark(THREE[1], BACKEND) if persistent else KEY
    assert cookie == f"INGRESSCOOKIE={key}|{MARK}; Path=/; HttpOnly"
    assert not request.pin_retries


def test_sessions_outlive_a_change_of_how_a_backend_is_treated() -> None:
    request = Asked(
        headers=(("Cookie", f"INGRESSCOOKIE=k|{MARK}"),), backend=f"{BACKEND}#12ab", backends={f"{BACKEND}#12ab": THREE}
    )
    assert run(request) is None
    assert request.hash_key == b"k"


def test_53_persistent_sessions_stay_when_endpoints_come() -> None:
    first = asked(there=THREE[:1])
    cookie = run(first, persistent=True)
    assert cookie is not None
    many = tuple(f"10.0.0.{number}:80" for number in range(10, 0, -1))
    request = asked(cookie.partition(";")[0], there=many)
    assert run(request, persistent=True) is None
    assert request.pin == THREE[0]


def test_54_a_persistent_session_whose_endpoint_is_gone_gets_another() -> None:
    request = asked(f"INGRESSCOOKIE={endpoint_mark('10.0.0.9:80', BACKEND)}|{MARK}")
    assert run(request, persistent=True) == (
        f"INGRESSCOOKIE={endpoint_mark(THREE[1], BACKEND)}|{MARK}; Path=/; HttpOnly"
    )
    nobody = asked(there=())
    assert run(nobody, Answered(503, own=True, endpoint=""), persistent=True) is None


def test_55_after_a_failure_the_session_moves_if_it_may() -> None:
    key = endpoint_mark(THREE[0], BACKEND)
    moved = Answered(endpoint=THREE[2], attempts=2)
    request = asked(f"INGRESSCOOKIE={key}|{MARK}")
    cookie = run(request, moved, persistent=True, change_on_failure=True)
    assert not request.pin_retries
    assert cookie == f"INGRESSCOOKIE={endpoint_mark(THREE[2], BACKEND)}|{MARK}; Path=/; HttpOnly"


def test_55_a_balanced_session_moves_to_a_key_of_who_has_answered() -> None:
    draws = iter([0.25, 0.75, 0.125])
    desk = Desk()
    desk.draw = lambda: next(draws)  # type: ignore[method-assign]
    affinity = Affinity(AffinitySpecification(change_on_failure=True), desk)
    good = "04000000000000"
    request = asked(f"INGRESSCOOKIE=old|{MARK}", hashes=lambda key: THREE[2] if key == good.encode() else THREE[0])
    affinity.request(request)
    affinity.response(request, Answered(endpoint=THREE[2], attempts=2))
    assert request.told() == (("Set-Cookie", f"INGRESSCOOKIE={good}|{MARK}; Path=/; HttpOnly"),)


def test_55_without_it_a_balanced_session_keeps_its_key() -> None:
    request = asked(f"INGRESSCOOKIE=old|{MARK}")
    assert run(request, Answered(endpoint=THREE[0], attempts=3)) is None


def test_32_a_canary_of_the_old_behaviour_pins_nobody() -> None:
    request = asked(notes={"canary": "unpinned"})
    assert run(request) is None
    assert request.hash_key == b""


@pytest.mark.parametrize(
    ("agent", "takes"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 12_0 like Mac OS X) AppleWebKit", False),
        ("Mozilla/5.0 (iPad; CPU OS 12_0 like Mac OS X) AppleWebKit", False),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_1) Version/12.0 Safari/605.1.15", False),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_14_1) Chrome/80.0 Safari/537.36", True),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/13.0 Safari/605.1.15", True),
        ("Mozilla/5.0 Chrome/51.0", False),
        ("", True),
    ],
)
def test_50_browsers_that_mishandle_none(agent: str, takes: bool) -> None:
    assert takes_same_site_none(agent) is takes
