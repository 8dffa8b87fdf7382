"""A route that must not be served without a part that is broken: 503 for everybody."""

import msgspec

from ingress.filters.api import Filter, Reply, Request

REPLY = Reply(503)


class ClosedSpecification(msgspec.Struct, frozen=True):
    reason: str
    """What is broken, for people who look at the tables; clients are not told."""


class Closed(Filter[ClosedSpecification]):
    name = "closed"
    Specification = ClosedSpecification

    def request(self, request: Request) -> Reply:
        return REPLY
