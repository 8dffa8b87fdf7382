"""canary-*: some requests of a route go to another backend."""

from contextlib import suppress

import msgspec

from ingress.filters.api import Filter, Request, Tools
from ingress.filters.patterns import Pattern, compile_pattern
from ingress.filters.sessions import backend_mark, read_session


class CanarySpecification(msgspec.Struct, frozen=True):
    backend: str
    """Key of the alternative."""
    header: str = ""
    header_value: str = ""
    header_pattern: str = ""
    cookie: str = ""
    weight: int = 0
    weight_total: int = 100
    session: str = ""
    """Name of the cookie that pins clients to an endpoint, and so to its backend. "": nobody is pinned."""
    legacy: bool = False
    """The cookie pins to the rule's own backend only."""


class Canary(Filter[CanarySpecification]):
    """Order of decision: who is pinned stays; then header, cookie, weight. Source: ingress-nginx, balancer.lua."""

    name = "canary"
    Specification = CanarySpecification

    def __init__(self, specification: CanarySpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._pattern: Pattern | None = None
        if specification.header_pattern and not specification.header_value:
            # What is no pattern was reported with the annotation; who sends the header stays with the rule's backend.
            with suppress(ValueError):
                self._pattern = compile_pattern(specification.header_pattern)

    def request(self, request: Request) -> None:
        specification = self.specification
        # Without endpoints it would answer 503 where the rule's own backend answers.
        if self._chosen(request) and request.endpoints(specification.backend):
            request.backend = request.alternative = specification.backend
            if specification.legacy:
                request.notes[self.name] = "unpinned"

    def _chosen(self, request: Request) -> bool:
        specification = self.specification
        if specification.session:
            pinned = read_session(request.cookie(specification.session)).backend
            if pinned and pinned == backend_mark(request.backend):
                return False
            if pinned and not specification.legacy and pinned == backend_mark(specification.backend):
                return True
        said = self._by_header(request)
        if said is None and specification.cookie:
            said = _said(request.cookie(specification.cookie))
        if said is None:
            return self.tools.draw() * specification.weight_total < specification.weight
        return said

    def _by_header(self, request: Request) -> bool | None:
        """None: it does not decide."""
        specification = self.specification
        value = request.field(specification.header) if specification.header else None
        if value is None:
            return None
        if specification.header_value:
            return True if value == specification.header_value else None
        if specification.header_pattern:
            if self._pattern is None:
                return False
            return True if self._pattern.search(value) else None
        return _said(value)


def _said(value: str | None) -> bool | None:
    return {"always": True, "never": False}.get(value or "")
