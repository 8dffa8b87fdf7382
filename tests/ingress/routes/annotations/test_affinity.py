"""Annotations of session affinity -> filters and backends."""

from typing import Any

import pytest

from ingress.filters.affinity import AffinitySpecification
from ingress.routes.annotations import affinity
from tests.ingress.routes.annotations.reading import read

COOKIE = {"affinity": "cookie"}


@pytest.mark.parametrize(
    ("annotations", "wanted", "problems"),
    [
        ({}, None, []),
        ({"affinity": "ip"}, None, ["affinity"]),
        ({"session-cookie-name": "S"}, None, []),
        (COOKIE, AffinitySpecification(), []),
        (COOKIE | {"affinity-mode": "persistent"}, AffinitySpecification(persistent=True), []),
        (COOKIE | {"affinity-mode": "sideways"}, AffinitySpecification(), ["affinity-mode"]),
        (COOKIE | {"session-cookie-name": "S"}, AffinitySpecification("S"), []),
        (COOKIE | {"session-cookie-name": "S=1;"}, AffinitySpecification(), ["session-cookie-name"]),
        (COOKIE | {"session-cookie-path": "/a"}, AffinitySpecification(path="/a"), []),
        (COOKIE | {"session-cookie-path": "/a; x"}, AffinitySpecification(), ["session-cookie-path"]),
        (COOKIE | {"session-cookie-domain": ".a.example"}, AffinitySpecification(domain=".a.example"), []),
        (COOKIE | {"session-cookie-domain": "a;b"}, AffinitySpecification(), ["session-cookie-domain"]),
        (COOKIE | {"session-cookie-expires": "-1"}, AffinitySpecification(expires_seconds=-1), []),
        (COOKIE | {"session-cookie-max-age": "0"}, AffinitySpecification(max_age_seconds=0), []),
        (COOKIE | {"session-cookie-max-age": "1d"}, AffinitySpecification(), ["session-cookie-max-age"]),
        (COOKIE | {"session-cookie-samesite": "lax"}, AffinitySpecification(same_site="lax"), []),
        (COOKIE | {"session-cookie-samesite": "x"}, AffinitySpecification(), ["session-cookie-samesite"]),
        (
            COOKIE | {"session-cookie-secure": "true", "session-cookie-conditional-samesite-none": "true"},
            AffinitySpecification(secure=True, conditional_none=True),
            [],
        ),
        (COOKIE | {"affinity-canary-behavior": "loose"}, AffinitySpecification(), ["affinity-canary-behavior"]),
    ],
)
def test_sessions(annotations: dict[str, str], wanted: Any, problems: list[str]) -> None:
    wishes, found = read(affinity, annotations)
    assert (wishes.filters.get("affinity"), found) == (wanted, problems)


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        (COOKIE, {"algorithm": "ring", "hash_by": "filter", "load_bound": 0.0, "eject_after_failures": 0}),
        (COOKIE | {"affinity-mode": "persistent"}, {"eject_after_failures": 0}),
        (COOKIE | {"affinity-mode": "persistent", "session-cookie-change-on-failure": "true"}, {}),
    ],
)
def test_how_endpoints_are_chosen(annotations: dict[str, str], wanted: dict[str, Any]) -> None:
    assert read(affinity, annotations)[0].backend == wanted
