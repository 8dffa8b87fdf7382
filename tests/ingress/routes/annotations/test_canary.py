"""Annotations of canaries -> wishes."""

from typing import Any

import pytest

from ingress.routes.annotations import canary
from ingress.routes.annotations.wishes import CanaryWish
from tests.ingress.routes.annotations.reading import read


@pytest.mark.parametrize(
    ("annotations", "wanted", "problems"),
    [
        ({}, None, []),
        ({"canary": "false"}, None, []),
        ({"canary": "true"}, CanaryWish(), []),
        (
            {"canary": "true", "canary-by-header": "X-Beta", "canary-by-header-value": "yes"},
            CanaryWish("X-Beta", "yes"),
            [],
        ),
        (
            {"canary": "true", "canary-by-header": "X-Beta", "canary-by-header-pattern": "^[yj]"},
            CanaryWish("X-Beta", header_pattern="^[yj]"),
            [],
        ),
        (
            {"canary": "true", "canary-by-header": "X-Beta", "canary-by-header-pattern": "[["},
            CanaryWish("X-Beta", header_pattern="[["),
            ["canary-by-header-pattern"],
        ),
        ({"canary": "true", "canary-by-cookie": "beta"}, CanaryWish(cookie="beta"), []),
        ({"canary": "true", "canary-by-cookie": "be ta"}, CanaryWish(), ["canary-by-cookie"]),
        ({"canary": "true", "canary-weight": "7"}, CanaryWish(weight=7), []),
        ({"canary": "true", "canary-weight": "-7"}, CanaryWish(), ["canary-weight"]),
        pytest.param(
            {"canary": "true", "canary-weight": "7", "canary-weight-total": "50"}, CanaryWish(weight=7), [], id="24"
        ),
        (
            {"canary": "true", "canary-weight": "7", "canary-weight-total": "1000"},
            CanaryWish(weight=7, weight_total=1000),
            [],
        ),
        ({"canary-weight": "7"}, None, ["canary-weight"]),
    ],
)
def test_canaries(annotations: dict[str, str], wanted: Any, problems: list[str]) -> None:
    wishes, found = read(canary, annotations)
    assert (wishes.canary, found) == (wanted, problems)
