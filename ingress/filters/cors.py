"""Cross-origin requests: which origins a browser may let read the answers."""

import re

import msgspec

from ingress.filters.api import Fields, Filter, Reply, Request, Tools

PREFLIGHT = Reply(204, (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")), b"")
"""RFC 9110, 8.6, wants no Content-Length here, but those who come from ingress-nginx have always had it."""


class CorsSpecification(msgspec.Struct, frozen=True):
    origins: tuple[str, ...]
    """ "http://shop.example.com:8080"; "*" in one stands for one label. ("*",): everybody."""
    fields: Fields = ()
    """What such an origin is told beside Access-Control-Allow-Origin."""


class Cors(Filter[CorsSpecification]):
    """For everybody the fields are the route's own (RouteOptions), and only preflights are left to answer here."""

    name = "cors"
    Specification = CorsSpecification

    def __init__(self, specification: CorsSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        patterns = (re.escape(each.lower()).replace(r"\*", "[a-z0-9-]+", 1) for each in specification.origins)
        self._everybody = specification.origins == ("*",)
        self._allowed = re.compile("|".join(patterns) or "(?!)")

    def request(self, request: Request) -> Reply | None:
        if not self._everybody:
            # A cache must not give one origin's answer to another.
            request.add_response("Vary", "Origin")
            origin = request.field("origin")
            if origin is None or not self._allowed.fullmatch(origin.lower()):
                return None
            request.set_response("Access-Control-Allow-Origin", origin)
            for name, value in self.specification.fields:
                request.set_response(name, value)
        return PREFLIGHT if request.method == "OPTIONS" else None
