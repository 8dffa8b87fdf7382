"""Which origins are told that they may read the answers."""

import pytest

from ingress.filters.cors import PREFLIGHT, Cors, CorsSpecification
from tests.ingress.filters.asked import Asked, Desk

FIELDS = (("Access-Control-Max-Age", "7"),)


def told(origins: tuple[str, ...], origin: str | None) -> dict[str, str]:
    asked = Asked(headers=(("Origin", origin),) if origin is not None else ())
    assert Cors(CorsSpecification(origins, FIELDS), Desk()).request(asked) is None
    return dict(asked.told())


@pytest.mark.parametrize(
    ("allowed", "origin", "found"),
    [
        ("http://a.example", "http://a.example", True),
        ("http://a.example", "http://A.Example", True),
        ("http://a.example", "http://aXexample", False),
        ("http://a.example", "http://a.example:8080", False),
        ("http://a.example", "xhttp://a.example", False),
        ("http://a.example:8080", "http://a.example:8080", True),
        ("http://a.example:8080", "http://a.example", False),
        ("http://*.a.example", "http://x-1.a.example", True),
        ("http://*.a.example", "http://x.y.a.example", False),
        ("http://*.a.example", "http://a.example", False),
        ("null", "null", True),
        ("http://a.example", None, False),
    ],
)
def test_origins(allowed: str, origin: str | None, found: bool) -> None:
    wanted = {"Access-Control-Allow-Origin": origin, "Access-Control-Max-Age": "7"} if found else {}
    assert told(("tauri://other", allowed), origin) == {"Vary": "Origin", **wanted}


@pytest.mark.parametrize(
    ("origins", "origin", "preflight"),
    [
        (("*",), None, True),
        (("*",), "http://anybody", True),
        (("http://a",), "http://a", True),
        (("http://a",), "http://b", False),
        ((), "http://b", False),
    ],
)
def test_preflights(origins: tuple[str, ...], origin: str | None, preflight: bool) -> None:
    cors = Cors(CorsSpecification(origins), Desk())
    fields = (("Origin", origin),) if origin else ()
    assert cors.request(Asked(method="OPTIONS", headers=fields)) == (PREFLIGHT if preflight else None)
    assert cors.request(Asked(method="POST", headers=fields)) is None
