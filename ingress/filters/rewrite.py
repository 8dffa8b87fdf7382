"""rewrite-target: the endpoint is asked for another path than the client."""

import re
from urllib.parse import quote

import msgspec

from ingress.filters.api import Filter, Reply, Request, Tools
from ingress.filters.variables import Template

_SAFE = "!$&'()*+,/:;=@[]~-._"
_PLAIN = re.compile(r"/[!$&'()*+,/:;=@\[\]~.\w-]*", re.ASCII)
_ELSEWHERE = ("http://", "https://", "$scheme://")


class RewriteSpecification(msgspec.Struct, frozen=True):
    target: str
    """Path with variables, such as "/new/$1". What follows a "?" is put before the client's query; a "?" at its end
    drops the client's. A whole URL is a redirect (302)."""
    prefix: str = ""
    """X-Forwarded-Prefix for the endpoint."""


class Rewrite(Filter[RewriteSpecification]):
    """Source: nginx, rewrite (ngx_http_rewrite_module). A rule whose path is the target is not rewritten."""

    name = "rewrite"
    Specification = RewriteSpecification

    def __init__(self, specification: RewriteSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        path, mark, query = specification.target.partition("?")
        self._path = Template.parse(path)
        self._query = Template.parse(query)
        self._keeps_query = not mark or bool(query)
        self._elsewhere = path.startswith(_ELSEWHERE)
        self._constant = self._escaped_path("") if self._path.constant and not self._elsewhere else ""

    def request(self, request: Request) -> Reply | None:
        specification = self.specification
        if request.rule_path == specification.target:
            return None
        if self._elsewhere:
            return Reply(302, (("Location", self._with_query(self._path.render(request, _escaped), request)),))
        path = self._constant or self._escaped_path(self._path.render(request))
        request.upstream_target = self._with_query(path, request)
        if specification.prefix:
            request.set("X-Forwarded-Prefix", specification.prefix)
        return None

    def _escaped_path(self, path: str) -> str:
        path = path or self._path.text
        return _escaped(path if path.startswith("/") else "/" + path)

    def _with_query(self, path: str, request: Request) -> str:
        query = self._query.render(request, _escaped) if self._query.text else ""
        if self._keeps_query and request.query:
            query = f"{query}&{request.query}" if query else request.query
        return f"{path}?{query}" if query else path


def _escaped(text: str) -> str:
    """As nginx's NGX_ESCAPE_URI: what cannot be in a path, and "?" and "%", which would mean something else there."""
    return text if _PLAIN.fullmatch(text) else quote(text.encode("latin-1"), safe=_SAFE)
