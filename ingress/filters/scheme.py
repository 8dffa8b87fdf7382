"""backend-protocol AUTO_HTTP: who has come by TLS is served by TLS all the way."""

import msgspec

from ingress.filters.api import Filter, Request


class SchemeSpecification(msgspec.Struct, frozen=True):
    suffix: str
    """What tells the key of a backend that is asked by TLS from that of the plain one."""


class Scheme(Filter[SchemeSpecification]):
    name = "scheme"
    Specification = SchemeSpecification
    only = "https"

    def request(self, request: Request) -> None:
        request.backend = request.backend.partition("#")[0] + self.specification.suffix
