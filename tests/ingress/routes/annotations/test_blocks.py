"""The operator's blocks are on every Ingress."""

import pytest

from ingress.filters.blocks import BlocksSpecification
from ingress.routes.annotations import blocks
from tests.ingress.routes.annotations.reading import read


def test_lists_of_the_operator() -> None:
    config = {"block-cidrs": "10.0.0.1/8,::1", "block-user-agents": "~*a\\/b,Bot", "block-referers": ""}
    wishes, _ = read(blocks, {}, config)
    assert wishes.filters == {"blocks": BlocksSpecification(("10.0.0.0/8", "::1/128"), ("~*a\\/b", "Bot"))}
    assert read(blocks, {}, {"block-cidrs": ""})[0].filters == {}
    assert read(blocks, {}, {})[0].filters == {}


@pytest.mark.parametrize("config", [{"block-cidrs": "10.0.0.0/33"}, {"block-user-agents": "~("}])
def test_a_broken_list_closes(config: dict[str, str]) -> None:
    wishes, problems = read(blocks, {}, config)
    assert (wishes.filters, bool(wishes.closed), problems) == ({}, True, [])
