"""Spans on their way to a collector: gathered in a worker, sent in batches by OTLP over HTTP, as JSON.

Source: OpenTelemetry Protocol specification, "OTLP/HTTP" and "JSON Protobuf Encoding" (ids are hex, 64-bit numbers
text).
"""

import asyncio
import logging
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from ingress.filters.api import FetchFailed, Tools

log = logging.getLogger(__name__)

BATCH = 512
QUEUE = 2048
"""Spans that wait; more are dropped, so that a slow collector costs neither time nor memory here."""
EVERY_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
SERVER = 2
"""SPAN_KIND_SERVER"""
ERROR = 2
"""STATUS_CODE_ERROR"""

Value = str | int


class Span(msgspec.Struct):
    trace: str
    """32 hex digits; those of a span have 16."""
    id: str
    parent: str
    """"": it begins its trace."""
    state: str
    """tracestate."""
    name: str
    start_ns: int
    """Since 1970."""
    attributes: dict[str, Value]
    end_ns: int = 0
    failed: bool = False


class Spans:
    """Those of one worker for one collector and service. A collector that is away is told of once; spans are lost."""

    def __init__(self, url: str, service: str, tools: Tools) -> None:
        """url: "http://HOST:PORT/v1/traces"."""
        self.url = url
        self.service = service
        self.dropped = 0
        """Spans that no collector has got."""
        self._tools = tools
        self._queue: deque[Span] = deque()
        self._sending = False
        self._enough = asyncio.Event()
        self._away = False

    def add(self, span: Span) -> None:
        if len(self._queue) >= QUEUE:
            self.dropped += 1
            return
        self._queue.append(span)
        if not self._sending:
            self._sending = True
            self._tools.spawn(self._send_all(), "sending spans")
        elif len(self._queue) >= BATCH:
            self._enough.set()

    async def _send_all(self) -> None:
        """While there are any: what a second has brought, or a batch if that is sooner."""
        try:
            while self._queue:
                try:
                    async with asyncio.timeout(EVERY_SECONDS):
                        await self._enough.wait()
                except TimeoutError:
                    pass
                batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                await self._send(batch)
                if len(self._queue) < BATCH:
                    self._enough.clear()
        finally:
            self._sending = False

    async def _send(self, batch: list[Span]) -> None:
        fields = (("Content-Type", "application/json"),)
        body = encode(batch, self.service)
        try:
            answer = await self._tools.fetch(
                self.url, method="POST", fields=fields, body=body, timeout_seconds=TIMEOUT_SECONDS
            )
            failure = "" if 200 <= answer.status < 300 else f"{self.url}: status {answer.status}"
        except FetchFailed as error:
            failure = str(error)
        if failure:
            self.dropped += len(batch)
            if not self._away:
                log.warning("the collector does not take spans, which are lost until it does: %s", failure)
        elif self._away:
            log.warning("the collector takes spans again; %d of this worker are lost", self.dropped)
        self._away = bool(failure)


_ALL: WeakValueDictionary[tuple[int, str, str], Spans] = WeakValueDictionary()


def spans_for(url: str, service: str, tools: Tools) -> Spans:
    """The same for all filters of a worker that send to the same collector as the same service."""
    key = (id(tools), url, service)  # its Spans keep the tools, so that no others get this id
    found = _ALL.get(key)
    if found is None:
        found = _ALL[key] = Spans(url, service, tools)
    return found


def encode(batch: list[Span], service: str) -> bytes:
    """The body of an ExportTraceServiceRequest."""
    resource = {"attributes": _attributes({"service.name": service})}
    scoped = {"scope": {"name": "causeway"}, "spans": [_told(each) for each in batch]}
    return msgspec.json.encode({"resourceSpans": [{"resource": resource, "scopeSpans": [scoped]}]})


def _told(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace,
        "spanId": span.id,
        "name": span.name,
        "kind": SERVER,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _attributes(span.attributes),
    }
    if span.parent:
        found["parentSpanId"] = span.parent
    if span.state:
        found["traceState"] = span.state
    if span.failed:
        found["status"] = {"code": ERROR}
    return found


def _attributes(values: dict[str, Value]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]
