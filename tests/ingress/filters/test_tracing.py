"""Spans: whose trace they are of, which are kept, how they are told, and a collector that is away."""

import asyncio
import json
import logging
from typing import Any

import pytest

from ingress.filters import spans
from ingress.filters.api import Answer, Fields
from ingress.filters.spans import BATCH, QUEUE
from ingress.filters.tracing import Parent, Tracing, TracingSpecification, read_parent
from tests.ingress.filters.asked import Asked, Desk

URL = "http://collector.example:4318/v1/traces"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
KEPT, LEFT = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (KEPT, Parent(TRACE, SPAN, True)),
        (LEFT, Parent(TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-ff", Parent(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01", Parent(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-later", Parent(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01.what", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"{KEPT}-more", None),
        (f"{KEPT}\n", None),
        (f"{KEPT}, {KEPT}", None),
        (KEPT.upper(), None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE[1:]}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        ("", None),
    ],
)
def test_parents(value: str, wanted: Parent | None) -> None:
    assert read_parent(value) == wanted


def desk(status: int = 200) -> Desk:
    return Desk(answer=lambda *asked: Answer(status, (), b"{}"))


async def traced(desk: Desk, request: Asked, status: int = 200, **how: Any) -> list[dict[str, Any]]:
    """The spans that the collector gets of one request."""
    tracing = Tracing(TracingSpecification(URL, "causeway", **how), desk)
    tracing.request(request)
    desk.clock += 0.25
    desk.date -= 3600  # the wall's clock is set
    tracing.finish(request, status)
    await sent(desk)
    return [each for *_, body in desk.fetched for each in told(body)]


def told(body: bytes) -> list[dict[str, Any]]:
    (resource,) = json.loads(body)["resourceSpans"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "causeway"}}]
    (scope,) = resource["scopeSpans"]
    return list(scope["spans"])


async def sent(desk: Desk) -> None:
    while desk.spawned:
        await desk.spawned.pop()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EVERY_SECONDS", 0.001)


async def test_what_a_span_says() -> None:
    fields: Fields = (("Traceparent", KEPT), ("TraceState", "shop=1"))
    request = Asked("/cart/7?secret=1", headers=fields, rule_path="/cart")
    (span,) = await traced(desk(), request, 503)
    parent = read_parent(request.field("traceparent") or "")
    assert parent == Parent(TRACE, span["spanId"], True)
    assert parent.span != SPAN
    assert request.field("tracestate") == "shop=1"
    values = {each["key"]: each["value"] for each in span.pop("attributes")}
    assert span == {
        "traceId": TRACE,
        "spanId": parent.span,
        "parentSpanId": SPAN,
        "traceState": "shop=1",
        "name": "GET /cart",
        "kind": 2,
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000250000000",
        "status": {"code": 2},
    }
    assert values == {
        "http.request.method": {"stringValue": "GET"},
        "url.path": {"stringValue": "/cart/7"},
        "url.scheme": {"stringValue": "http"},
        "server.address": {"stringValue": "shop.example.com"},
        "server.port": {"intValue": "80"},
        "client.address": {"stringValue": "192.0.2.7"},
        "http.route": {"stringValue": "/cart"},
        "k8s.namespace.name": {"stringValue": "shop"},
        "k8s.ingress.name": {"stringValue": "web"},
        "k8s.service.name": {"stringValue": "cart"},
        "http.response.status_code": {"intValue": "503"},
    }


@pytest.mark.parametrize(
    ("told", "how", "kept", "same"),
    [
        ("", {}, True, False),
        ("", {"ratio": 0.0}, False, False),
        (KEPT, {"ratio": 0.0}, True, True),
        (LEFT, {}, False, True),
        (LEFT, {"follow_parent": False}, True, True),
        (KEPT, {"follow_parent": False, "ratio": 0.5}, False, True),  # its last half begins with a3
        (KEPT, {"follow_parent": False, "ratio": 0.7}, True, True),
        (LEFT, {"trust": False}, True, False),
        ("nonsense", {}, True, False),
    ],
)
async def test_which_spans_are_kept(told: str, how: dict[str, Any], kept: bool, same: bool) -> None:
    request = Asked(headers=(("traceparent", told), ("tracestate", "a=1")) if told else ())
    found = await traced(desk(), request, **how)
    assert len(found) == kept
    parent = read_parent(request.field("traceparent") or "")
    assert parent is not None
    assert (parent.sampled, parent.trace == TRACE) == (kept, same)
    assert request.field("tracestate") == ("a=1" if same else None)
    assert [each.get("parentSpanId") for each in found] == [SPAN if same else None] * kept


@pytest.mark.parametrize(
    ("method", "operation", "wanted"),
    [
        ("POST", "", "POST /"),
        ("BREW", "", "HTTP /"),
        ("BREW", "$request_method $service_name$uri", "BREW cart/\u00e9"),
    ],
)
async def test_names(method: str, operation: str, wanted: str) -> None:
    request = Asked("/%C3%A9", method=method, path="/\u00e9")
    (span,) = await traced(desk(), request, operation=operation)
    assert span["name"] == wanted
    methods = [each["value"]["stringValue"] for each in span["attributes"] if "request.method" in each["key"]]
    assert methods == (["POST"] if method == "POST" else ["_OTHER", "BREW"])


def asked(tracing: Tracing, count: int) -> None:
    for _ in range(count):
        request = Asked()
        tracing.request(request)
        tracing.finish(request, 200)


async def test_filters_of_one_collector_share_batches() -> None:
    tools = desk()
    first, second = (Tracing(TracingSpecification(URL, "causeway", operation=name), tools) for name in "ab")
    asked(first, BATCH)
    asked(second, BATCH + 1)
    assert len(tools.spawned) == 1
    await sent(tools)
    assert [len(told(body)) for *_, body in tools.fetched] == [BATCH, BATCH, 1]
    assert {(method, url) for method, url, *_ in tools.fetched} == {("POST", URL)}


async def test_a_full_batch_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "EVERY_SECONDS", 3600.0)
    tools = desk()
    asked(Tracing(TracingSpecification(URL, "causeway"), tools), BATCH)
    async with asyncio.timeout(30):
        await sent(tools)
    assert len(tools.fetched) == 1


@pytest.mark.parametrize("answer", [None, lambda *asked: Answer(503, (), b"")], ids=["nobody", "busy"])
async def test_a_collector_that_is_away_is_told_of_once(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    tools = Desk(answer=answer)
    tracing = Tracing(TracingSpecification(URL, "causeway"), tools)
    with caplog.at_level(logging.WARNING):
        asked(tracing, QUEUE + 5)
        await sent(tools)
        asked(tracing, 1)
        await sent(tools)
        assert len(caplog.messages) == 1
        assert spans.spans_for(URL, "causeway", tools).dropped == QUEUE + 6
        tools.answer = desk().answer
        asked(tracing, 1)
        await sent(tools)
    assert [str(QUEUE + 6) in each for each in caplog.messages] == [False, True]
