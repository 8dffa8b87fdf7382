"""What a filter sees and may do.

A filter is a class with one or more of the hooks of `Filter`. It is made once from its specification (a frozen msgspec
struct, `Specification`), and shared by all routes that have the same one: state of a filter, such as a count per
client, belongs to one worker and lives as long as a route uses it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

Fields = tuple[tuple[str, str], ...]
"""Field lines, in order: names as they are written, values latin-1."""

S = TypeVar("S", bound=msgspec.Struct)


class Reply(NamedTuple):
    """An answer of the proxy's own. The response edits of the request are applied to it as to any response."""

    status: int
    fields: Fields = ()
    body: bytes | None = None
    """None: the page of that status, as for errors of the proxy itself. Content-Length is added."""


class Elsewhere(NamedTuple):
    """Drop the response and give the client what another backend says: a request without a body, GET unless HEAD."""

    backend: str
    target: str
    fields: Fields = ()
    """Set on that request."""
    status: int = 0
    """What the client is told; 0: what that backend says."""


class Answer(NamedTuple):
    """What a sub-request has brought."""

    status: int
    fields: Fields
    body: bytes

    def field(self, name: str) -> str | None:
        """The first field of that name."""
        wanted = name.lower()
        return next((value for key, value in self.fields if key.lower() == wanted), None)


class FetchFailed(Exception):
    """A sub-request has brought no answer: names that mean nothing, connections refused, time-outs, bad framing."""


class Request(Protocol):
    """One request, after its route is known and before an endpoint is chosen. Valid until `finish` returns.

    Text is latin-1: every octet that a client may send can be said. What a filter changes is what later filters see.
    """

    # What the client has sent.
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str:
        """Path and query as the client wrote them, "/a%20b?x=1"; `rewrite` does not change it."""

    @property
    def path(self) -> str:
        """Normalised: escapes decoded, "//", "." and ".." resolved; UTF-8 with surrogateescape. What routes match."""

    @property
    def query(self) -> str:
        """After the first "?"; "" without one."""

    @property
    def host(self) -> str:
        """Lower case, without port and trailing dot."""

    @property
    def authority(self) -> str:
        """The Host field, or the authority of an absolute target; after use-forwarded-headers, X-Forwarded-Host."""

    @property
    def version(self) -> str:
        """ "HTTP/1.1"."""

    @property
    def secure(self) -> bool:
        """Whether the client speaks TLS, as far as we or a trusted proxy know."""

    @property
    def port(self) -> int:
        """What X-Forwarded-Port says."""

    @property
    def client(self) -> str:
        """The client's address, taken from trusted proxies only."""

    @property
    def peer(self) -> str:
        """The other end of the connection."""

    @property
    def id(self) -> str:
        """X-Request-ID: the client's, or ours."""

    @property
    def content_length(self) -> int | None:
        """None: there is no body, or its length is not known yet (`chunked`)."""

    @property
    def chunked(self) -> bool: ...
    @property
    def server_name(self) -> str:
        """SNI; "" without TLS."""

    @property
    def client_certificate(self) -> "ClientCertificate | None":
        """What the TLS client has shown; None: the host asks for none, or there is no TLS."""

    def field(self, name: str) -> str | None:
        """The value of a field, several joined by ", "; None if there is none. Any letter case. Sees edits."""

    def fields(self) -> Sequence[tuple[str, str]]:
        """All field lines, as they were sent."""

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name."""

    # The route it has.
    @property
    def route_id(self) -> int: ...
    @property
    def labels(self) -> Sequence[str]:
        """RouteSpec.labels: namespace, Ingress, Service, its port, path; the last of them may be missing."""

    @property
    def rule_path(self) -> str:
        """The path of the rule that matched."""

    @property
    def captures(self) -> Sequence[str | None]:
        """What a pattern of a rule has matched: the whole, then its groups. Empty for rules that are no patterns."""

    # What goes on to the endpoint.
    backend: str
    """Key of the backend; another may be set."""
    upstream_target: str
    """Target for the endpoint; `target` until it is set."""
    pin: str
    """"ip:port" of the endpoint to try first, "" for any. One that is not there, or is ejected, is passed over."""
    pin_retries: bool
    """A retry goes to the same endpoint again instead of another."""
    hash_key: bytes
    """What a consistent hash of `hash_by="filter"` goes by; b"" goes anywhere."""
    log: bool
    """Whether a line is written to the access log."""
    compress: bool
    """Whether the response may be compressed here, where the route and the client like it."""
    user: str
    """$remote_user of the log."""
    alternative: str
    """Key of the backend chosen instead of the rule's, for log and counters: a canary. "" if none was."""

    def set(self, name: str, value: str) -> None:
        """Replace every field of that name on the way to the endpoint; also Host and what the proxy adds itself."""

    def remove(self, name: str) -> None: ...
    def endpoints(self, backend: str) -> Sequence[str]:
        """ "ip:port" of a backend's endpoints that may be chosen; empty: none, or no such backend."""

    def hashed(self, key: bytes) -> str:
        """ "ip:port" of the endpoint of `backend` that a consistent hash gives for a `hash_key`; "" if it has none."""

    # What the client gets, whoever answers: an endpoint, a filter, or the proxy for want of an endpoint.
    def set_response(self, name: str, value: str) -> None:
        """Replace every field of that name. ValueError for what no field may hold (CR, LF, NUL)."""

    def add_response(self, name: str, value: str) -> None:
        """One line more, such as Set-Cookie."""

    def remove_response(self, name: str) -> None: ...

    notes: dict[str, Any]
    """From one hook of a filter to the next, by the filter's name."""


class ClientCertificate(NamedTuple):
    verdict: str
    """"SUCCESS", "NONE" or "FAILED:reason"."""
    subject: str
    """RFC 2253: "CN=shop,O=Example"."""
    issuer: str
    pem: str


class Response(Protocol):
    """A response's head, before the client gets it. Edits go through the request's *_response."""

    @property
    def status(self) -> int: ...
    @property
    def own(self) -> bool:
        """Made by the proxy (a filter's reply, or for want of an endpoint's answer)."""

    @property
    def endpoint(self) -> str:
        """ "ip:port" that has answered; "" if none."""

    @property
    def attempts(self) -> int:
        """How many endpoints were tried."""

    def field(self, name: str) -> str | None: ...
    def all(self, name: str) -> Sequence[str]:
        """The values of every field of that name."""


class Filter(Generic[S]):
    """Base of all filters. Only hooks that a class overrides are called.

    An exception in a hook is a bug: it is logged with its traceback and counted, and the client gets 500.
    """

    name: ClassVar[str]
    """As in FILTERS."""
    Specification: ClassVar[type[msgspec.Struct]]
    only: Literal["", "http", "https"] = ""
    """Sees only requests of clients without TLS, or only those with TLS."""

    def __init__(self, specification: S, tools: "Tools") -> None:
        self.specification = specification
        self.tools = tools

    def request(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        """The head has come. None: go on. What takes time returns an awaitable; the client waits meanwhile."""

    def request_body(self, request: Request, body: bytes) -> Reply | bytes | None:
        """The whole body has come (it is buffered for this); return what to send instead, or None."""

    def response(self, request: Request, response: Response) -> Elsewhere | None:
        """A response's final head has come, or is about to be made by the proxy. Never waits."""

    def response_body(self, request: Request, octets: bytes, last: bool) -> bytes:
        """A piece of an endpoint's body; return what the client gets for it. Lengths are seen to.

        Called with `last` once, perhaps with b"". Not called where there is no body, such as after HEAD.
        """
        return octets

    def finish(self, request: Request, status: int) -> None:
        """The exchange is over, whatever became of it. Called once for every request this filter has seen."""


class Tallies(Protocol):
    """Numbers that all workers share, by zone (such as the Ingress and what is counted) and client."""

    def adjust(self, zone: str, client: str, change: Callable[[int, int], tuple[int, int] | None]) -> None:
        """change: (when, value), zeros at first -> what they shall be; None leaves them. The smallest `when` goes first
        when there are too many clients."""

    def enter(self, zone: str, client: str, most: int) -> int | None:
        """One more is there; what to say to `leave` once it is gone. None: `most` are there already."""

    def leave(self, row: int) -> None: ...


class Tools(Protocol):
    """What a worker offers its filters."""

    @property
    def tallies(self) -> Tallies: ...

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        fields: Fields = (),
        body: bytes = b"",
        timeout_seconds: float = 60.0,
        limit_bytes: int = 65536,
    ) -> Answer:
        """A request of our own over pooled connections. Host is set from the url unless `fields` have one.

        Raises FetchFailed. Redirects are not followed.
        """

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        """Run what would block the loop, such as a password hash, in one of a few threads."""

    def spawn(self, work: Awaitable[object], what: str) -> None:
        """Let something go on beside requests; its failure is logged as of `what`."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""

    def wall(self) -> float:
        """Seconds since 1970."""

    def draw(self) -> float:
        """A random number, 0 <= x < 1."""
