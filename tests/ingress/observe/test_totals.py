"""Sums that go from one supervisor to the next, and routes that come and go. (Workers that do: test_metrics.py.)"""

import socket

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ingress.observe.metrics import PREFIX
from ingress.observe.requests import ROWS, Shape, tell_requests
from ingress.observe.totals import NO_ROUTE, Totals
from ingress.proxy.counted import Counted, Durations, Histograms
from ingress.routes.compile import RoutingTable
from ingress.worker_line import Worker
from lb.cluster.objects import Key
from tests.ingress.state import ingress, service, table_of

BOUNDS = ((0.1, 1.0), (10.0,), (10.0,))


def worker(pid: int, *rows: Counted, **events: int) -> Worker:
    class Process:
        def __init__(self) -> None:
            self.pid = pid

    ours, theirs = socket.socketpair()
    with theirs:
        made = Worker(0, Process(), ours)  # type: ignore[arg-type]
        made.gone()
    made.counted = list(rows)
    made.stats = {"events": events}
    return made


def row(route: int, status: int, requests: int) -> Counted:
    times, sizes = (requests, 0, 0), (0, requests)
    buckets = Histograms(times, times, times, times, sizes, sizes, sizes)
    return Counted(
        route, status, "GET", "", requests, 10 * requests, 20 * requests, Durations(1.0, 1.0, 0.5, 0.0), buckets
    )


def totals(*names: str) -> tuple[Totals, RoutingTable]:
    rules = [ingress(name, {f"{name}.example": [("/", "Prefix", name)]}) for name in names]
    table = table_of(*rules, *(each for name in names for each in service(name)))
    made = Totals(BOUNDS)
    made.routes_changed(table.hosts)
    return made, table


def route_of(table: RoutingTable, host: str) -> int:
    return next(route.id for route in table.routes() if route.host == host)


def test_each_count_is_handed_on_once() -> None:
    (old, table), (new, _) = totals("a", "b"), totals("b", "a")
    one, two = route_of(table, "a.example"), route_of(table, "b.example")
    old.take(worker(1, row(one, 200, 3), row(two, 503, 1), accepted=4))
    new.take(worker(2, row(NO_ROUTE, 404, 2), accepted=1))
    new.inherit(old.hand_out())
    assert (new.answered, new.events["accepted"]) == (6, 5)
    old.take(worker(1, row(one, 200, 2), accepted=5))
    for _ in range(2):
        new.inherit(old.hand_out())
    assert (new.answered, new.events["accepted"]) == (8, 6)
    found = {(told.labels.ingress, told.status): sums for told, sums in new.requests.items()}
    assert {key: sums.requests for key, sums in found.items()} == {("a", 200): 5, ("b", 503): 1, ("", 404): 2}
    assert found["a", 200].octets_out == 100
    assert found["a", 200].seconds == [2.0, 2.0, 1.0, 0.0]
    assert found["a", 200].buckets[0] == [5, 0, 0]
    assert not old.requests


def test_counts_of_rules_that_are_gone_are_no_rows() -> None:
    (old, table), (new, _) = totals("a", "b"), totals("b")
    old.take(worker(1, row(route_of(table, "a.example"), 200, 3), row(route_of(table, "b.example"), 200, 4)))
    new.inherit(old.hand_out())
    assert [(told.labels.ingress, sums.requests) for told, sums in new.requests.items()] == [("b", 4)]
    assert new.answered == 7


def test_what_does_not_fit_adds_nothing() -> None:
    (old, table), (new, _) = totals("a"), totals("a")
    old.take(worker(1, row(route_of(table, "a.example"), 200, 3)))
    old.bounds = ((0.2, 1.0), *BOUNDS[1:])
    with pytest.raises(ValueError, match="other bounds"):
        new.inherit(old.hand_out())
    with pytest.raises(msgspec.MsgspecError):
        new.inherit(b"nonsense")
    assert not new.answered
    assert not new.requests


def test_counts_may_be_taken_a_few_at_a_time() -> None:
    made, table = totals("a")
    counting = worker(1, *[row(route_of(table, "a.example"), status, 1) for status in range(200, 205)], accepted=5)
    assert [made.take(counting, 2) for _ in range(3)] == [True, True, False]
    assert (made.answered, len(made.requests), made.events["accepted"]) == (5, 5, 5)


def test_a_changed_host_touches_the_counts_of_no_other() -> None:
    made, table = totals("a", "b")
    one, two = route_of(table, "a.example"), route_of(table, "b.example")
    made.take(worker(1, row(one, 200, 3), row(two, 200, 4)))
    table.store.put(ingress("a", {"a.example": [("/", "Prefix", "a"), ("/more", "Prefix", "a")]}))
    made.routes_changed(table.update([Key("Ingress", "shop", "a")]).hosts)
    made.take(worker(1, row(one, 200, 1), row(two, 200, 1)))
    assert [(told.labels.ingress, sums.requests) for told, sums in made.requests.items()] == [("a", 4), ("b", 5)]
    table.store.remove(Key("Ingress", "shop", "a"))
    made.routes_changed(table.update([Key("Ingress", "shop", "a")]).hosts)
    made.take(worker(1, row(one, 200, 1), row(two, 200, 1)))
    assert [(told.labels.ingress, sums.requests) for told, sums in made.requests.items()] == [("b", 6)]


def test_a_route_that_has_just_gone_still_counts_for_its_rule() -> None:
    made, table = totals("a")
    old = route_of(table, "a.example")
    for annotations in ({"nginx.ingress.kubernetes.io/proxy-body-size": "1m"}, {}):  # the same rule, other routes
        table.store.put(ingress("a", {"a.example": [("/", "Prefix", "a")]}, annotations=annotations))
        made.routes_changed(table.update([Key("Ingress", "shop", "a")]).hosts)
    assert route_of(table, "a.example") != old
    for requests in (3, 2):
        made.take(worker(1, row(old, 200, requests)))
        made.all_taken()
    assert [sums.requests for sums in made.requests.values()] == [5]
    made.take(worker(1, row(old, 200, 7)))
    assert [sums.requests for sums in made.requests.values()] == [5], "no worker has it any more"
    assert made.answered == 12


def test_many_rules_are_told_a_little_at_a_time() -> None:
    """And what is told of each is whole."""
    table = table_of(
        *(ingress(f"i{number}", {f"h{number}.example": [('/"', "Exact", "web")]}) for number in range(200))
    )
    made = Totals(BOUNDS)
    made.routes_changed(table.hosts)
    made.take(worker(1, *(row(route.id, 200, 12) for route in table.routes())))
    shape = Shape(time_buckets=BOUNDS[0], length_buckets=BOUNDS[1], size_buckets=BOUNDS[2])
    pieces = list(tell_requests(made, shape, {"pod": "p"}))
    assert max(piece.count("\n") for piece in pieces) <= ROWS * (len(BOUNDS[0]) + 3)
    families = {each.name: each for each in text_string_to_metric_families("".join(pieces))}
    counted = families[f"{PREFIX}requests"].samples
    assert {(each.labels["path"], each.labels["pod"], each.value) for each in counted} == {('/"', "p", 12.0)}
    assert len({each.labels["host"] for each in counted}) == 200
    for name in ("request_duration_seconds", "request_size", "bytes_sent"):
        samples = families[PREFIX + name].samples
        assert [each.value for each in samples if each.labels.get("le") == "+Inf"] == [12.0] * 200
