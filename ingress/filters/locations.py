"""proxy-redirect-from and -to: what endpoints write into Location and Refresh, as clients must read it."""

import msgspec

from ingress.filters.api import Elsewhere, Filter, Request, Response, Tools
from ingress.filters.origin import origin_of
from ingress.filters.replacement import Replacement


class LocationsSpecification(msgspec.Struct, frozen=True):
    begins: str
    """What a URL must begin with, or a pattern: see Replacement."""
    becomes: str
    """What takes the place of that."""
    relative: bool = False
    """Whether a URL that has become a path stays one."""
    with_port: bool = False


class Locations(Filter[LocationsSpecification]):
    """Source: nginx, proxy_redirect."""

    name = "locations"
    Specification = LocationsSpecification

    def __init__(self, specification: LocationsSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._new = Replacement(specification.begins, specification.becomes)

    def response(self, request: Request, response: Response) -> Elsewhere | None:
        if response.own:
            return None
        location = response.field("location")
        if location is not None and (url := self._changed(request, location)) is not None:
            request.set_response("Location", url)
        refresh = response.field("refresh")
        if refresh is not None:
            at = refresh.lower().find("url=") + 4
            if at >= 4 and (url := self._changed(request, refresh[at:])) is not None:
                request.set_response("Refresh", refresh[:at] + url)
        return None

    def _changed(self, request: Request, url: str) -> str | None:
        new = self._new.of(request, url)
        if new is not None and new.startswith("/") and not self.specification.relative:
            return origin_of(request, with_port=self.specification.with_port) + new
        return new
