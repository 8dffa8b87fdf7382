"""Filters of a worker: made once for each specification, kept while a route uses them."""

import gc

import msgspec
import pytest

from ingress.filters import FILTERS
from ingress.filters.api import Filter, Reply, Request
from ingress.filters.closed import ClosedSpecification
from ingress.filters.registry import FilterLine, Registry
from tests.ingress.filters.asked import Desk


class CountSpecification(msgspec.Struct, frozen=True):
    most: int


class Count(Filter[CountSpecification]):
    name = "count"
    Specification = CountSpecification
    seen = 0

    def request(self, request: Request) -> Reply | None:
        self.seen += 1
        return Reply(503) if self.seen > self.specification.most else None


class Broken(Count):
    name = "broken"

    def __init__(self, specification: CountSpecification, tools: object) -> None:
        raise RuntimeError("a bug")


@pytest.fixture(autouse=True)
def filters(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (Count, Broken):
        monkeypatch.setitem(FILTERS, kind.name, f"{__name__}:{kind.__name__}")


def line(most: int, name: str = "count") -> FilterLine:
    return name, msgspec.msgpack.encode(CountSpecification(most))


CLOSED = ("closed", msgspec.msgpack.encode(ClosedSpecification("why")))


def test_routes_with_the_same_specification_share_a_filter() -> None:
    registry = Registry(Desk())
    one, two, other = (registry.chain(lines) for lines in ((line(2),), (CLOSED, line(2)), (line(3),)))
    assert [made.specification for made in registry._filters.values()] == [
        CountSpecification(2),
        ClosedSpecification("why"),
        CountSpecification(3),
    ]
    assert one is registry.chain((line(2),))
    assert one is not two is not other


def test_what_was_counted_goes_on_when_tables_are_replaced_and_ends_with_the_last_route() -> None:
    registry = Registry(Desk())
    before = registry.chain((line(2),))
    first = registry._filters[line(2)]
    after = registry.chain((line(2), CLOSED))
    del before
    gc.collect()
    assert registry._filters[line(2)] is first
    del after, first
    gc.collect()
    assert not registry._filters
    assert not registry._chains


@pytest.mark.parametrize(
    "wrong", [line(1, "broken"), ("count", b"\xc1"), ("count", b"\x80"), ("nowhere", b"\x80")], ids=str
)
def test_what_cannot_be_made_is_refused_by_name(wrong: FilterLine) -> None:
    with pytest.raises(ValueError, match=f"filter {wrong[0]} cannot be made"):
        Registry(Desk()).chain((wrong,))
