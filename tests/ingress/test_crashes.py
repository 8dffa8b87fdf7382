"""How long to wait before a worker is replaced."""

import pytest

from ingress.crashes import Crashes


@pytest.mark.parametrize(
    ("ends", "served", "pauses"),
    [
        ([0, 1, 2], True, [0, 0, 0]),
        ([0, 1, 2, 3, 4, 5], True, [0, 0, 0, 0.1, 0.2, 0.4]),
        ([0, 100, 200, 300, 400], True, [0, 0, 0, 0, 0]),
        ([0, 1, 2], False, [0.1, 0.2, 0.4]),
        (list(range(10)), False, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5]),
    ],
)
def test_pauses(ends: list[float], served: bool, pauses: list[float]) -> None:
    crashes = Crashes()
    assert [crashes.add(now, "ended", served=served) for now in ends] == pytest.approx(pauses)


def test_what_is_told_is_forgotten_after_a_while() -> None:
    crashes = Crashes()
    for now in range(4):
        crashes.add(now, "ended with code 1", served=True)
    assert crashes.trouble(4) == "4 workers ended within 60 s, the last one ended with code 1"
    assert crashes.trouble(62) == ""
