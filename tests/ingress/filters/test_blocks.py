"""Whom nobody answers."""

import pytest

from ingress.filters.blocks import FORBIDDEN, Blocks, BlocksSpecification
from tests.ingress.filters.asked import Asked, Desk

BLOCKS = BlocksSpecification(
    networks=("10.0.0.0/8", "2001:db8::/32"), user_agents=("AlphaBot", "~*curl"), referers=("qwerty",)
)


@pytest.mark.parametrize(
    ("client", "fields", "blocked"),
    [
        ("192.0.2.1", {}, False),
        ("10.1.2.3", {}, True),
        ("2001:db8::1", {}, True),
        ("::ffff:10.0.0.1", {}, True),
        ("192.0.2.1", {"User-Agent": "alphabot"}, True),
        ("192.0.2.1", {"User-Agent": "AlphaBot/1"}, False),
        ("192.0.2.1", {"User-Agent": "libCURL"}, True),
        ("192.0.2.1", {"Referer": "qwerty"}, True),
        ("192.0.2.1", {"Referer": "qwerty123"}, False),
        ("unix:", {}, False),
    ],
)
def test_229_blocks(client: str, fields: dict[str, str], blocked: bool) -> None:
    asked = Asked(client=client, headers=tuple(fields.items()))
    assert Blocks(BLOCKS, Desk()).request(asked) == (FORBIDDEN if blocked else None)
