"""Annotations that have no effect are reported with what to use instead; the Ingress is served."""

import pytest

from ingress.routes.annotations import refused
from tests.ingress.routes.annotations.reading import read


@pytest.mark.parametrize("name", sorted(refused.NAMES))
def test_they_are_reported_unless_they_ask_for_nothing(name: str) -> None:
    for value, silent in (
        ("true", name == "session-cookie-hash"),
        ("false", name in refused.SWITCHES | refused.SILENT.keys()),
    ):
        wishes, problems = read(refused, {name: value})
        assert problems == ([] if silent else [name])
        assert (wishes.refused, wishes.closed, wishes.filters, wishes.options) == ("", "", {}, {})
