"""What no Ingress takes, where the operator says more of such answers than that they are 404."""

import msgspec

from ingress.filters.api import Filter, Reply, Request

REPLY = Reply(404)


class NobodySpecification(msgspec.Struct, frozen=True):
    pass


class Nobody(Filter[NobodySpecification]):
    name = "nobody"
    Specification = NobodySpecification

    def request(self, request: Request) -> Reply:
        return REPLY
