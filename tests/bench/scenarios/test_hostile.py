"""Attacks that are carried out, and what is told of them."""

import pytest

from bench import native
from bench.scenarios.attacks import ATTACKS, attack
from bench.scenarios.hostile import told
from bench.scenarios.stage import ask


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_lasts_and_ends(name: str) -> None:
    with native.endpoint() as (port, _):
        attack(name, port, "a.example", 0.15)
        assert ask(port, "a.example") == (200, port)


def test_ratios_are_taken_within_rounds() -> None:
    assert told("flood", [[1.0, 2.0], [3.0, 2.0], [8.0, 4.0]]) == {
        "flood, causeway, p99, ms": 3.0,
        "flood, nginx, p99, ms": 2.0,
        "flood, ours to nginx's": 1.5,
    }
