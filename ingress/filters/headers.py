"""Fields with variables in their values, towards endpoints and clients. What is constant is the route's own
(RouteOptions) and costs no Python."""

import msgspec

from ingress.filters.api import Fields, Filter, Request, Tools
from ingress.filters.variables import Template, for_field


class HeadersSpecification(msgspec.Struct, frozen=True):
    """Values have variables. One that comes out empty is no field."""

    request: Fields = ()
    response: Fields = ()


class Headers(Filter[HeadersSpecification]):
    name = "headers"
    Specification = HeadersSpecification

    def __init__(self, specification: HeadersSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._request = [(name, Template.parse(value)) for name, value in specification.request]
        self._response = [(name, Template.parse(value)) for name, value in specification.response]

    def request(self, request: Request) -> None:
        # Responses too: variables are the request's, and every reply of a later filter gets them as well.
        for name, value in self._response:
            if found := value.render(request, for_field):
                request.set_response(name, found)
            else:
                request.remove_response(name)
        changed = [(name, value.render(request, for_field)) for name, value in self._request]
        for name, found in changed:
            if found:
                request.set(name, found)
            else:
                request.remove(name)


class Told(Headers):
    """Fields of all responses: first of all, so that those which filters make have them."""

    name = "told"
