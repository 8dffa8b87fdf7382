"""mirror-target: a copy of every request goes somewhere else; nobody waits for what becomes of it."""

from urllib.parse import urlsplit

import msgspec

from ingress.filters.api import FetchFailed, Filter, Request, Tools
from ingress.filters.variables import Template

MOST_UNDER_WAY = 64
"""Copies of one filter and worker; more are left out, so that a slow target costs neither time nor memory here."""
TIMEOUT_SECONDS = 60.0
ANSWER_BYTES = 1 << 20
"""Of an answer that nobody reads; with a longer one the connection is given up."""
_OWN_OF_A_CONNECTION = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "expect",
        "content-length",
        "host",
    }
)


class MirrorSpecification(msgspec.Struct, frozen=True):
    target: str
    """A url with variables."""
    host: str = ""
    """"": that of the url."""


class MirrorHead(Filter[MirrorSpecification]):
    """Copies without bodies."""

    name = "mirror-head"
    Specification = MirrorSpecification

    def __init__(self, specification: MirrorSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        self._target = Template.parse(specification.target)
        self._under_way = 0

    def request(self, request: Request) -> None:
        self._copy(request, b"")

    def _copy(self, request: Request, body: bytes) -> None:
        if self._under_way >= MOST_UNDER_WAY:
            return
        url = self._target.render(request)
        if not urlsplit(url).netloc:
            return
        dropped = {each.strip().lower() for each in (request.field("connection") or "").split(",")}
        fields = [
            (name, value)
            for name, value in request.fields()
            if name.lower() not in _OWN_OF_A_CONNECTION and name.lower() not in dropped
        ]
        if self.specification.host:
            fields.append(("Host", self.specification.host))
        self._under_way += 1
        self.tools.spawn(self._send(url, request.method, tuple(fields), body), "a mirrored request")

    async def _send(self, url: str, method: str, fields: tuple[tuple[str, str], ...], body: bytes) -> None:
        try:
            await self.tools.fetch(
                url,
                method=method,
                fields=fields,
                body=body,
                timeout_seconds=TIMEOUT_SECONDS,
                limit_bytes=ANSWER_BYTES,
            )
        except FetchFailed:
            pass  # the original does not depend on it
        finally:
            self._under_way -= 1


class Mirror(MirrorHead):
    """Copies with bodies, which are gathered for it."""

    name = "mirror"

    def request(self, request: Request) -> None:
        if not request.chunked and not request.content_length:
            self._copy(request, b"")

    def request_body(self, request: Request, body: bytes) -> None:
        if request.chunked or request.content_length:
            self._copy(request, body)
