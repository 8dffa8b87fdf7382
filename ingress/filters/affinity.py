"""affinity: cookie. A client stays with the endpoint that its first request has got."""

import time
from typing import NamedTuple

import msgspec

from ingress.filters.api import Filter, Request, Response
from ingress.filters.sessions import backend_mark, endpoint_mark, read_session, takes_same_site_none

SEARCHES_PER_ENDPOINT = 16
"""Keys drawn to find one that leads to a certain endpoint: it is missed once in e^16 times."""


class AffinitySpecification(msgspec.Struct, frozen=True):
    cookie: str = "INGRESSCOOKIE"
    persistent: bool = False
    """The cookie names an endpoint, whatever others come; else it is what a consistent hash goes by, and new endpoints
    get their share of old sessions."""
    change_on_failure: bool = False
    """A retry of a session's request goes elsewhere, and so do the session's next ones."""
    path: str = ""
    """"": the path of the rule."""
    domain: str = ""
    expires_seconds: int | None = None
    max_age_seconds: int | None = None
    same_site: str = ""
    conditional_none: bool = False
    """Leave SameSite=None out for browsers that do not know it."""
    secure: bool = False
    """Also for clients without TLS."""


class _Held(NamedTuple):
    """The session of one request."""

    key: str
    fresh: bool
    """Begun with this request, so it may go anywhere."""


class Affinity(Filter[AffinitySpecification]):
    """Source: ingress-nginx, balancer/sticky.lua, sticky_balanced.lua and sticky_persistent.lua."""

    name = "affinity"
    Specification = AffinitySpecification

    def request(self, request: Request) -> None:
        if "canary" in request.notes:
            return
        mark = backend_mark(request.backend)
        session = read_session(request.cookie(self.specification.cookie))
        key = session.key if session.backend == mark else ""
        if self.specification.persistent:
            there = request.endpoints(request.backend)
            request.pin = next((each for each in there if endpoint_mark(each, request.backend) == key), "")
            held = _Held(key, fresh=not request.pin)
            if held.fresh and there:
                request.pin = there[int(self.tools.draw() * len(there))]
        else:
            held = _Held(key or self._new_key(), fresh=not key)
            request.hash_key = held.key.encode("latin-1")
        request.pin_retries = not (held.fresh or self.specification.change_on_failure)
        request.notes[self.name] = held

    def response(self, request: Request, response: Response) -> None:
        held: _Held | None = request.notes.get(self.name)
        if held is None or not response.endpoint:
            return
        key = held.key
        if self.specification.persistent:
            key = endpoint_mark(response.endpoint, request.backend)
        elif response.attempts > 1 and not request.pin_retries:
            key = self._key_for(response.endpoint, request, key)
        if held.fresh or key != held.key:
            request.add_response("Set-Cookie", self._cookie(request, key))

    def _new_key(self) -> str:
        return f"{int(self.tools.draw() * (1 << 53)):014x}"

    def _key_for(self, endpoint: str, request: Request, key: str) -> str:
        """A key whose requests go to this endpoint; the old one if that is hard to find."""
        new = key
        for _ in range(SEARCHES_PER_ENDPOINT * len(request.endpoints(request.backend))):
            if request.hashed(new.encode("latin-1")) == endpoint:
                return new
            new = self._new_key()
        return key

    def _cookie(self, request: Request, key: str) -> str:
        specification = self.specification
        parts = [f"{specification.cookie}={key}|{backend_mark(request.backend)}"]
        if specification.expires_seconds is not None:
            until = time.gmtime(self.tools.wall() + specification.expires_seconds)
            parts.append(time.strftime("Expires=%a, %d-%b-%y %H:%M:%S GMT", until))
        if specification.max_age_seconds is not None:
            parts.append(f"Max-Age={specification.max_age_seconds}")
        if specification.domain:
            parts.append(f"Domain={specification.domain}")
        parts.append(f"Path={specification.path or request.rule_path}")
        if specification.secure or request.secure:
            parts.append("Secure")
        parts.append("HttpOnly")
        same_site = specification.same_site
        if specification.conditional_none and same_site.lower() == "none":
            same_site = same_site if takes_same_site_none(request.field("user-agent") or "") else ""
        if same_site:
            parts.append(f"SameSite={same_site}")
        return "; ".join(parts)
