"""--health-check-path: load balancers that ask the port of requests whether somebody is there."""

import msgspec

from ingress.filters.api import Filter, Reply, Request

REPLY = Reply(200, body=b"")


class HealthySpecification(msgspec.Struct, frozen=True):
    pass


class Healthy(Filter[HealthySpecification]):
    name = "healthy"
    Specification = HealthySpecification

    def request(self, request: Request) -> Reply:
        return REPLY
