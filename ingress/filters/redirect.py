"""permanent-redirect, temporal-redirect, app-root, from-to-www-redirect: answers that name another address."""

import msgspec

from ingress.filters.api import Filter, Reply, Request, Tools
from ingress.filters.origin import origin_of
from ingress.filters.variables import Template, for_field


class RedirectSpecification(msgspec.Struct, frozen=True):
    url: str
    """With variables. A path is completed by the address the client has come by, unless `relative`."""
    status: int = 301
    relative: bool = False
    with_port: bool = False
    """Whether a path is completed by the port as well, where it is not the scheme's own."""


class Redirect(Filter[RedirectSpecification]):
    """Every request."""

    name = "redirect"
    Specification = RedirectSpecification

    def __init__(self, specification: RedirectSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._url = Template.parse(specification.url)

    def request(self, request: Request) -> Reply:
        specification = self.specification
        url = self._url.render(request, for_field)
        if url.startswith("/") and not specification.relative:
            url = origin_of(request, with_port=specification.with_port) + url
        return Reply(specification.status, (("Location", url),))


class AppRootSpecification(msgspec.Struct, frozen=True):
    path: str
    """It may have variables."""


class AppRoot(Filter[AppRootSpecification]):
    """Requests for "/"."""

    name = "app-root"
    Specification = AppRootSpecification

    def __init__(self, specification: AppRootSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._path = Template.parse(specification.path)

    def request(self, request: Request) -> Reply | None:
        if request.path != "/":
            return None
        scheme = "https" if request.secure else "http"
        path = self._path.render(request, for_field)
        return Reply(302, (("Location", f"{scheme}://{request.authority}{path}"),))


class WwwSpecification(msgspec.Struct, frozen=True):
    host: str
    """Where requests belong: the same name without "www.", or with it."""
    status: int = 308


class Www(Filter[WwwSpecification]):
    """Every request. The port is always written, and a "/" at the end of the target is not, as ingress-nginx does."""

    name = "www"
    Specification = WwwSpecification

    def request(self, request: Request) -> Reply:
        scheme = "https" if request.secure else "http"
        target = request.target.removesuffix("/")
        location = f"{scheme}://{self.specification.host}:{request.port}{target}"
        return Reply(self.specification.status, (("Location", location),))


class SlashSpecification(msgspec.Struct, frozen=True):
    with_port: bool = False


class Slash(Filter[SlashSpecification]):
    """A path to which a rule exists with "/" at its end."""

    name = "slash"
    Specification = SlashSpecification

    def request(self, request: Request) -> Reply:
        path, mark, query = request.target.partition("?")
        location = f"{origin_of(request, with_port=self.specification.with_port)}{path}/{mark}{query}"
        return Reply(301, (("Location", location),))
