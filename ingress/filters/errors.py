"""custom-http-errors and default-backend: another backend answers where the rule's own cannot or should not."""

import msgspec

from ingress.filters.api import Elsewhere, Fields, Filter, Request, Response

_LABELS = ("X-Namespace", "X-Ingress-Name", "X-Service-Name", "X-Service-Port")


class ErrorsSpecification(msgspec.Struct, frozen=True):
    backend: str
    """Key of the backend that answers instead."""
    statuses: tuple[int, ...] = ()
    """Which responses it replaces."""
    own_only: bool = False
    """Only those that no endpoint has made."""
    stands_in: bool = False
    """It also gets the requests themselves while the rule's backend has no endpoints."""


class Errors(Filter[ErrorsSpecification]):
    """Source: ingress-nginx, nginx.tmpl, the locations @custom_UPSTREAM_STATUS and custom default backends."""

    name = "errors"
    Specification = ErrorsSpecification

    def request(self, request: Request) -> None:
        other = self.specification.backend
        if self.specification.stands_in and not request.endpoints(request.backend) and request.endpoints(other):
            for name, value in _about(request, 503):
                request.set(name, value)
            request.backend = other

    def response(self, request: Request, response: Response) -> Elsewhere | None:
        specification = self.specification
        if response.status not in specification.statuses or (specification.own_only and not response.own):
            return None
        if request.backend == specification.backend or not request.endpoints(specification.backend):
            return None  # what cannot be replaced is worth more than a 503
        more = (("X-Original-URI", request.target), ("Host", request.authority))
        return Elsewhere(specification.backend, "/", (*_about(request, response.status), *more))


def _about(request: Request, status: int) -> Fields:
    return (
        ("X-Code", str(status)),
        ("X-Format", request.field("accept") or ""),
        *zip(_LABELS, request.labels, strict=False),
        ("X-Request-ID", request.id),
    )
