"""The filters of one route, one after the other. What the engine calls."""

import logging
from collections.abc import Awaitable, Sequence
from typing import Any

from ingress.filters.api import Elsewhere, Filter, Reply, Request, Response

log = logging.getLogger(__name__)

BROKEN = Reply(500)

WANTS_PLAIN = 1
"""A request without TLS is shown to `request`."""
WANTS_SECURE = 2
WANTS_RESPONSE = 4
WANTS_FINISH = 8
WANTS_REQUEST_BODY = 16
WANTS_RESPONSE_BODY = 32

AnyFilter = Filter[Any]


class Chain:
    """Made once for each route that has filters. `wants` says which of its methods the engine has to call at all."""

    def __init__(self, filters: Sequence[AnyFilter]) -> None:
        """filters: in the order in which they see a request."""
        self._plain = [each for each in filters if _has(each, "request") and each.only != "https"]
        self._secure = [each for each in filters if _has(each, "request") and each.only != "http"]
        back = list(reversed(filters))
        self._responses = [each for each in back if _has(each, "response")]
        self._finishes = [each for each in back if _has(each, "finish")]
        self._request_bodies = [each for each in filters if _has(each, "request_body")]
        self._response_bodies = [each for each in back if _has(each, "response_body")]
        self.broken = 0
        """Exceptions in hooks."""
        self.wants = sum(
            bit
            for bit, found in (
                (WANTS_PLAIN, self._plain),
                (WANTS_SECURE, self._secure),
                (WANTS_RESPONSE, self._responses),
                (WANTS_FINISH, self._finishes),
                (WANTS_REQUEST_BODY, self._request_bodies),
                (WANTS_RESPONSE_BODY, self._response_bodies),
            )
            if found
        )

    def request(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        """None: send it on. A reply: the answer. An awaitable: the same, later."""
        return self._run(self._secure if request.secure else self._plain, 0, request)

    def _run(self, filters: list[AnyFilter], first: int, request: Request) -> Reply | Awaitable[Reply | None] | None:
        for number in range(first, len(filters)):
            try:
                found = filters[number].request(request)
            except Exception:
                return self._wrong(filters[number])
            if found is not None:
                return found if isinstance(found, Reply) else self._later(filters, number, found, request)
        return None

    async def _later(
        self, filters: list[AnyFilter], number: int, waiting: Awaitable[Reply | None], request: Request
    ) -> Reply | None:
        try:
            found = await waiting
        except Exception:
            return self._wrong(filters[number])
        if found is not None:
            return found
        rest = self._run(filters, number + 1, request)
        return rest if rest is None or isinstance(rest, Reply) else await rest

    def request_body(self, request: Request, body: bytes) -> Reply | bytes:
        for each in self._request_bodies:
            try:
                found = each.request_body(request, body)
            except Exception:
                return self._wrong(each)
            if isinstance(found, Reply):
                return found
            if found is not None:
                body = found
        return body

    def response(self, request: Request, response: Response) -> Elsewhere | Reply | None:
        for each in self._responses:
            try:
                found = each.response(request, response)
            except Exception:
                return self._wrong(each)
            if found is not None:
                return found
        return None

    def response_body(self, request: Request, octets: bytes, last: bool) -> bytes:
        """Raises what a hook raises: the response has begun, so all that is left is to cut it."""
        for each in self._response_bodies:
            octets = each.response_body(request, octets, last)
        return octets

    def finish(self, request: Request, status: int) -> None:
        for each in self._finishes:
            try:
                each.finish(request, status)
            except Exception:
                self._wrong(each)

    def _wrong(self, each: AnyFilter) -> Reply:
        self.broken += 1
        log.exception("filter %s is broken; the client gets 500", type(each).__name__)
        return BROKEN


def _has(each: AnyFilter, hook: str) -> bool:
    return getattr(type(each), hook) is not getattr(Filter, hook)
