"""CORS annotations -> static fields or a filter."""

import pytest

from ingress.filters.cors import CorsSpecification
from ingress.routes.annotations import cors
from tests.ingress.routes.annotations.reading import read

DEFAULTS = {
    "Access-Control-Allow-Methods": "GET, PUT, POST, DELETE, PATCH, OPTIONS",
    "Access-Control-Allow-Headers": (
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
    ),
    "Access-Control-Max-Age": "1728000",
    "Access-Control-Allow-Credentials": "true",
}


def told(annotations: dict[str, str]) -> dict[str, str]:
    wishes, problems = read(cors, {"enable-cors": "true", **annotations})
    assert not problems
    return dict(wishes.options["response_set"])


def test_off() -> None:
    wishes, _ = read(cors, {"cors-allow-origin": "http://a.example"})
    assert (wishes.filters, wishes.options) == ({}, {})


@pytest.mark.parametrize("origins", ["", "*", "*, http://a.example", "http://a.example,*,"])
def test_for_everybody_the_fields_are_static(origins: str) -> None:
    assert told({"cors-allow-origin": origins}) == {"Access-Control-Allow-Origin": "*", **DEFAULTS}


def test_values_are_taken_as_they_are() -> None:
    found = told(
        {
            "cors-allow-methods": "POST, GET",
            "cors-allow-headers": "DNT, User-Agent",
            "cors-expose-headers": "*, X-Custom_1",
            "cors-max-age": "200",
            "cors-allow-credentials": "false",
        }
    )
    assert found == {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "DNT, User-Agent",
        "Access-Control-Expose-Headers": "*, X-Custom_1",
        "Access-Control-Max-Age": "200",
    }


@pytest.mark.parametrize(
    ("origins", "found", "reported"),
    [
        ("http://a.example", ("http://a.example",), 0),
        (", http://a.example:8080 ,,https://*.b.example,", ("http://a.example:8080", "https://*.b.example"), 0),
        ("test://localhost,tauri://localhost:3000", ("test://localhost", "tauri://localhost:3000"), 0),
        ("null", ("null",), 0),
        ("a.example, http://b.example", ("http://b.example",), 1),
        ("http://b.example/path", (), 1),
    ],
)
def test_lists_of_origins(origins: str, found: tuple[str, ...], reported: int) -> None:
    wishes, problems = read(cors, {"enable-cors": "true", "cors-allow-origin": origins})
    wanted = {"cors": CorsSpecification(found, tuple(DEFAULTS.items()))} if found else {}
    assert (wishes.filters, wishes.options) == (wanted, {})
    assert problems == ["cors-allow-origin"] * reported


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cors-allow-methods", "GET; PUT"),
        ("cors-allow-headers", "a:b"),
        ("cors-expose-headers", "$pid"),
        ("cors-max-age", "1d"),
        ("cors-allow-credentials", "perhaps"),
    ],
)
def test_what_makes_no_sense_is_reported_and_the_default_counts(name: str, value: str) -> None:
    wishes, problems = read(cors, {"enable-cors": "true", name: value})
    assert problems == [name]
    assert dict(wishes.options["response_set"]) == {"Access-Control-Allow-Origin": "*", **DEFAULTS}
