"""The operator's blocks are on every Ingress."""

from ingress.filters.blocks import BlocksSpecification
from ingress.routes.annotations import blocks
from tests.ingress.routes.annotations.reading import read


def test_lists_of_the_operator() -> None:
    config = {"block-cidrs": "10.0.0.1/8,::1", "block-user-agents": "~*a\\/b,Bot", "block-referers": ""}
    wishes, _ = read(blocks, {}, config)
    assert wishes.filters == {"blocks": BlocksSpecification(("10.0.0.0/8", "::1/128"), ("~*a\\/b", "Bot"))}
    assert read(blocks, {}, {"block-cidrs": ""})[0].filters == {}
    assert read(blocks, {}, {})[0].filters == {}


def test_networks_that_are_broken_close() -> None:
    wishes, problems = read(blocks, {}, {"block-cidrs": "10.0.0.0/33"})
    assert (wishes.filters, bool(wishes.closed), problems) == ({}, True, [])
