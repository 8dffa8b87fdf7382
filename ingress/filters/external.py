"""External authentication: a service of the operator's says who may pass. One of the parts of `access`.

As nginx's auth_request with what ingress-nginx sets around it: 2xx lets the request pass, 401 and 403 are the client's,
anything else, and no answer at all, is 500.
"""

from collections import OrderedDict
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from ingress.filters.api import Answer, FetchFailed, Fields, Reply, Request, Tools
from ingress.filters.variables import Template

VERDICTS_MAX = 8192
"""Kept by one filter, if there is a cache key."""
ANSWER_BYTES = 1 << 20
"""A page to log in may come with 401; nobody reads it."""

_OURS = (
    "x-real-ip",
    "x-request-id",
    "x-scheme",
    "x-sent-from",
    "x-auth-request-redirect",
    "forwarded",
    "proxy",
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "proxy-connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "range",
)
"""What a client says of these is not for the service: we say it, or it belongs to the connection or the body."""
_OUR_PREFIXES = ("x-forwarded-", "x-original-", "ssl-client-", "if-")


class ExternalSpecification(msgspec.Struct, frozen=True):
    """Texts may have nginx's variables, but for names."""

    url: str
    method: str = "GET"
    signin: str = ""
    """Where a client is sent that gets 401; "" nowhere."""
    signin_parameter: str = "rd"
    """Of that address: what the client wanted."""
    response_fields: tuple[str, ...] = ()
    """Copied from the answer to the endpoint's request; what the client says under these names is removed."""
    request_redirect: str = ""
    """X-Auth-Request-Redirect; "": the target."""
    cache_key: str = ""
    """Requests of a route for which it is the same share a verdict; "" none do."""
    cache_seconds: dict[int, int] = {}
    """Status -> how long a verdict counts."""
    always_set_cookie: bool = False
    """The client gets cookies of the answer also with errors."""
    fields: Fields = ()
    """Set on the request to the service."""


class Verdict(NamedTuple):
    """What became of a request to the service."""

    status: int
    fields: Fields = ()
    """For the endpoint."""
    cookies: tuple[str, ...] = ()
    challenge: str = ""
    """WWW-Authenticate."""


class Kept(NamedTuple):
    verdict: Verdict
    until: float
    varied: tuple[tuple[str, str | None], ...]
    """Fields that the answer depends on, as the request had them."""


BROKEN = Verdict(500)


class External:
    """One service and what it is asked."""

    def __init__(self, specification: ExternalSpecification, tools: Tools) -> None:
        """Raises ValueError for variables that are not known."""
        found = self.specification = specification
        self._tools = tools
        self._url = Template.parse(found.url)
        self._host = host_of(found.url)
        self._redirect = Template.parse(found.request_redirect or "$request_uri")
        self._key = Template.parse(found.cache_key) if found.cache_key else None
        self._fields = tuple((name, Template.parse(value)) for name, value in found.fields)
        self._withheld = frozenset(_folded(name) for name in found.response_fields)
        self._named = frozenset(name.lower() for name, _ in found.fields)
        self._signin = Template.parse(with_return(found.signin, found.signin_parameter)) if found.signin else None
        self._kept: OrderedDict[tuple[int, str], Kept] = OrderedDict()

    def kept(self, request: Request) -> Verdict | None:
        """What is known already."""
        if self._key is None:
            return None
        found = self._kept.get((request.route_id, self._key.render(request)))
        if found is None or found.until <= self._tools.now() or found.varied != _varied(request, found.varied):
            return None
        return found.verdict

    async def ask(self, request: Request) -> Verdict:
        try:
            answer = await self._tools.fetch(
                self._url.render(request),
                method=self.specification.method,
                fields=self._question(request),
                limit_bytes=ANSWER_BYTES,
            )
        except FetchFailed:
            return BROKEN
        verdict = self._read(answer)
        if self._key is not None:
            self._keep(request, self._key.render(request), answer, verdict)
        return verdict

    def apply(self, request: Request, verdict: Verdict | None) -> None:
        """Tell the endpoint what the service says, and nothing that a client says under the names of it."""
        for name, _ in request.fields():
            if _folded(name) in self._withheld:
                request.remove(name)
        for name, value in verdict.fields if verdict else ():
            request.set(name, value)

    def signin(self, request: Request) -> Reply | None:
        """What takes the place of 401."""
        return Reply(302, (("Location", self._signin.render(request)),)) if self._signin else None

    def _question(self, request: Request) -> Fields:
        scheme = "https" if request.secure else "http"
        ours = [
            ("X-Request-ID", request.id),
            ("X-Original-URL", f"{scheme}://{request.authority}{request.target}"),
            ("X-Original-URI", request.target),
            ("X-Original-Method", request.method),
            ("X-Scheme", scheme),
            ("X-Sent-From", "nginx-ingress-controller"),
            ("X-Real-IP", request.client),
            ("X-Forwarded-For", request.client),
            ("X-Auth-Request-Redirect", self._redirect.render(request)),
            *((name, template.render(request)) for name, template in self._fields),
        ]
        if self._host:
            ours.insert(0, ("Host", self._host))
        shown = request.client_certificate
        if shown is not None:
            told = (("verify", shown.verdict), ("subject-dn", shown.subject), ("issuer-dn", shown.issuer))
            ours += [(f"ssl-client-{name}", value) for name, value in told if value]
        return (*(each for each in request.fields() if self._passes_on(request, each[0])), *ours)

    def _passes_on(self, request: Request, name: str) -> bool:
        lower = name.lower()
        if lower in _OURS or lower in self._named or lower.startswith(_OUR_PREFIXES):
            return False
        listed = request.field("Connection")
        return listed is None or lower not in {each.strip().lower() for each in listed.split(",")}

    def _read(self, answer: Answer) -> Verdict:
        cookies = tuple(value for name, value in answer.fields if name.lower() == "set-cookie")
        fields = []
        for wanted in self.specification.response_fields:
            values = [value for name, value in answer.fields if name.lower() == wanted.lower() and value]
            if values:
                fields.append((wanted, ", ".join(values)))
        return Verdict(answer.status, tuple(fields), cookies, answer.field("WWW-Authenticate") or "")

    def _keep(self, request: Request, key: str, answer: Answer, verdict: Verdict) -> None:
        """What a cache of nginx's would keep: no cookies, and not against the answer's own Cache-Control."""
        seconds = self._seconds(answer)
        vary = [each.strip().lower() for each in (answer.field("Vary") or "").split(",") if each.strip()]
        if not seconds or verdict.cookies or "*" in vary:
            return
        self._kept.pop((request.route_id, key), None)
        if len(self._kept) >= VERDICTS_MAX:
            self._kept.popitem(last=False)
        varied = tuple((name, request.field(name)) for name in vary)
        self._kept[request.route_id, key] = Kept(verdict, self._tools.now() + seconds, varied)

    def _seconds(self, answer: Answer) -> int:
        wanted = self.specification.cache_seconds
        told = [each.strip().lower().partition("=") for each in (answer.field("Cache-Control") or "").split(",")]
        if any(name in ("no-cache", "no-store", "private") for name, _, _ in told):
            return 0
        for name in ("s-maxage", "max-age"):
            found = next((value for key, _, value in told if key == name), "")
            if found.isascii() and found.isdigit():
                return int(found[:9])
        return wanted.get(answer.status, wanted.get(0, 0))


def _folded(name: str) -> str:
    """Of names with the same, CGI and its children make one variable: X_User is X-User to them."""
    return name.lower().replace("_", "-")


def refusal_of(verdict: Verdict) -> Reply | None:
    """None: it may pass."""
    if 200 <= verdict.status < 300:
        return None
    if verdict.status == 401:
        return Reply(401, (("WWW-Authenticate", verdict.challenge),) if verdict.challenge else ())
    return Reply(403 if verdict.status == 403 else 500)


def _varied(request: Request, like: tuple[tuple[str, str | None], ...]) -> tuple[tuple[str, str | None], ...]:
    return tuple((name, request.field(name)) for name, _ in like)


def host_of(url: str) -> str:
    """Without port, as ingress-nginx has it; "" if a variable says it."""
    authority = url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    if "$" in authority:
        return ""
    return authority if authority.endswith("]") else authority.rpartition(":")[0] or authority


def with_return(signin: str, parameter: str) -> str:
    """The address to sign in at, with what the client wanted in a parameter unless the operator has given that."""
    query = signin.partition("?")[2].partition("#")[0]
    pairs = [each.partition("=") for each in query.split("&") if each]
    if any(name == parameter and value for name, _, value in pairs):
        return signin
    return f"{signin}{'&' if pairs else '?'}{quote(parameter)}=$pass_access_scheme://$http_host$escaped_request_uri"
