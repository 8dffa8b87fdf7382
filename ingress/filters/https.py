"""ssl-redirect: who comes without TLS is sent to the same address with it."""

import msgspec

from ingress.filters.api import Filter, Reply, Request
from ingress.filters.origin import host_of


class HttpsSpecification(msgspec.Struct, frozen=True):
    status: int = 308
    keeps_slash: bool = False
    """Whether a "/" at the end of the target stays."""
    port: int = 0
    """Written into the new address; 0: none."""
    plain_below: tuple[str, ...] = ()
    """Beginnings of paths that are served without TLS as well: those of ACME challenges."""


class Https(Filter[HttpsSpecification]):
    name = "https"
    Specification = HttpsSpecification
    only = "http"

    def request(self, request: Request) -> Reply | None:
        specification = self.specification
        if specification.plain_below and request.path.startswith(specification.plain_below):
            return None
        target = request.target
        if not specification.keeps_slash and target.endswith("/"):
            target = target[:-1]
        port = f":{specification.port}" if specification.port else ""
        return Reply(specification.status, (("Location", f"https://{host_of(request)}{port}{target}"),))
