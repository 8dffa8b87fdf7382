"""opentelemetry-*: a server span for each request, and who is asked next is told of it.

Sources: W3C Trace Context (https://www.w3.org/TR/trace-context/); OpenTelemetry's semantic conventions for HTTP spans.
"""

import os
import re
from typing import NamedTuple

import msgspec

from ingress.filters.api import Filter, Request, Tools
from ingress.filters.spans import Span, Value, spans_for
from ingress.filters.variables import Template

_PARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
_LABELS = ("k8s.namespace.name", "k8s.ingress.name", "k8s.service.name")


class TracingSpecification(msgspec.Struct, frozen=True):
    collector: str
    """http://HOST:PORT/v1/traces"""
    service: str
    ratio: float = 1.0
    """Of the traces that begin here, those that are kept."""
    follow_parent: bool = True
    """A trace that began elsewhere is kept if it is there; else `ratio` counts for it, too."""
    trust: bool = True
    """What the client says of a trace counts."""
    operation: str = ""
    """Name of the spans, with variables; "": method and path of the rule."""


class Parent(NamedTuple):
    trace: str
    span: str
    sampled: bool


class Tracing(Filter[TracingSpecification]):
    name = "tracing"
    Specification = TracingSpecification

    def __init__(self, specification: TracingSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._operation = Template.parse(specification.operation) if specification.operation else None
        self._spans = spans_for(specification.collector, specification.service, tools)

    def request(self, request: Request) -> None:
        told = request.field("traceparent") if self.specification.trust else None
        parent = read_parent(told) if told else None
        trace = parent.trace if parent else os.urandom(16).hex()
        span = os.urandom(8).hex()
        sampled = self._sampled(trace, parent)
        request.set("traceparent", f"00-{trace}-{span}-{'01' if sampled else '00'}")
        if parent is None:
            request.remove("tracestate")  # it is of another trace, or of none
        if sampled:
            state = request.field("tracestate") or "" if parent else ""
            begun = Span(
                trace,
                span,
                parent.span if parent else "",
                _text(state),
                self._name(request),
                int(self.tools.wall() * 1e9),
                _attributes(request),
            )
            # By a clock that does not go back: the wall's may be set meanwhile.
            request.notes[self.name] = begun, self.tools.now()

    def finish(self, request: Request, status: int) -> None:
        begun = request.notes.pop(self.name, None)
        if begun is not None:
            span, since = begun
            span.end_ns = span.start_ns + max(0, int((self.tools.now() - since) * 1e9))
            span.failed = status >= 500
            if status:
                span.attributes["http.response.status_code"] = status
            self._spans.add(span)

    def _sampled(self, trace: str, parent: Parent | None) -> bool:
        """By the trace's id, so that all who have the same ratio keep the same traces."""
        if parent and self.specification.follow_parent:
            return parent.sampled
        return int(trace[16:], 16) < self.specification.ratio * 2**64

    def _name(self, request: Request) -> str:
        if self._operation:
            return _text(self._operation.render(request))
        return f"{request.method if request.method in _METHODS else 'HTTP'} {request.rule_path}"


def read_parent(value: str) -> Parent | None:
    """A traceparent, also of later versions; None: it is not valid, so there is no parent."""
    found = _PARENT.fullmatch(value)
    if not found:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return Parent(trace, span, bool(int(flags, 16) & _SAMPLED))


def _attributes(request: Request) -> dict[str, Value]:
    found: dict[str, Value] = {
        "http.request.method": request.method,
        "url.path": _text(request.target.partition("?")[0]),
        "url.scheme": "https" if request.secure else "http",
        "server.address": _text(request.host),
        "server.port": request.port,
        "client.address": request.client,
        "http.route": request.rule_path,
        **dict(zip(_LABELS, request.labels, strict=False)),
    }
    if request.method not in _METHODS:  # whoever counts by method must not be made to count what clients make up
        found |= {"http.request.method": "_OTHER", "http.request.method_original": _text(request.method)}
    return found


def _text(octets: str) -> str:
    """Latin-1 that stands for octets, as the UTF-8 that clients mean."""
    return octets if octets.isascii() else octets.encode("latin-1", "replace").decode("utf-8", "replace")
