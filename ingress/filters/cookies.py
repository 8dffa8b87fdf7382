"""proxy-cookie-domain and -path: the Domain and Path of endpoints' cookies, as clients must know them."""

import msgspec

from ingress.filters.api import Elsewhere, Filter, Request, Response, Tools
from ingress.filters.replacement import Replacement


class CookiesSpecification(msgspec.Struct, frozen=True):
    domain: tuple[str, str] | None = None
    """A Domain, or a pattern, and what takes its place: see Replacement."""
    path: tuple[str, str] | None = None
    """The beginning of a Path, or a pattern, and what takes its place."""


class Cookies(Filter[CookiesSpecification]):
    """Source: nginx, proxy_cookie_domain and proxy_cookie_path."""

    name = "cookies"
    Specification = CookiesSpecification

    def __init__(self, specification: CookiesSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._new: dict[str, Replacement] = {}
        if specification.domain is not None:
            self._new["domain"] = Replacement(*specification.domain, domain=True)
        if specification.path is not None:
            self._new["path"] = Replacement(*specification.path)

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
            replacement = self._new.get(name.strip().lower())
            new = replacement.of(request, value.strip()) if replacement is not None else None
            if new is not None:
                parts[number] = name + equals + new
        return ";".join(parts)
