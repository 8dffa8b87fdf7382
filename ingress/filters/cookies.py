"""proxy-cookie-domain and -path: the Domain and Path of endpoints' cookies, as clients must know them."""

import msgspec

from ingress.filters.api import Elsewhere, Filter, Request, Response, Tools
from ingress.filters.variables import Template, for_field


class CookiesSpecification(msgspec.Struct, frozen=True):
    domain: tuple[str, str] | None = None
    """A Domain, and what takes its place; both with variables."""
    path: tuple[str, str] | None = None
    """The beginning of a Path, and what takes its place; both with variables."""


class Cookies(Filter[CookiesSpecification]):
    """Source: nginx, proxy_cookie_domain and proxy_cookie_path."""

    name = "cookies"
    Specification = CookiesSpecification

    def __init__(self, specification: CookiesSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._domain = _parsed(specification.domain)
        self._path = _parsed(specification.path)

    def response(self, request: Request, response: Response) -> Elsewhere | None:
        before = response.all("set-cookie")
        if not before or response.own:
            return None
        after = [self._changed(request, each) for each in before]
        if after != list(before):
            request.remove_response("Set-Cookie")
            for each in after:
                request.add_response("Set-Cookie", each)
        return None

    def _changed(self, request: Request, cookie: str) -> str:
        parts = cookie.split(";")
        for number, part in enumerate(parts[1:], 1):
            name, equals, value = part.partition("=")
            attribute, value = name.strip().lower(), value.strip()
            if attribute == "domain" and self._domain is not None:
                wanted, new = (each.render(request, for_field) for each in self._domain)
                if value.lower().removeprefix(".") == wanted.lower().removeprefix("."):
                    parts[number] = name + equals + new
            elif attribute == "path" and self._path is not None:
                begins, new = (each.render(request, for_field) for each in self._path)
                if value.startswith(begins):
                    parts[number] = name + equals + new + value[len(begins) :]
        return ";".join(parts)


def _parsed(pair: tuple[str, str] | None) -> tuple[Template, Template] | None:
    return None if pair is None else (Template.parse(pair[0]), Template.parse(pair[1]))
