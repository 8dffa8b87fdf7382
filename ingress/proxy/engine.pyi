"""Types of the compiled engine (engine.pyx)."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypedDict

from ingress.filters.api import ClientCertificate
from ingress.proxy.counted import Counted, EndpointSeen
from ingress.proxy.settings import BackendSpec, ClientAuth, Matcher, RouteSpec, Settings

class Stats(TypedDict):
    """Counted since the engine was made, `events` by reason. Of the connections open some are reading a head, some
    writing an answer or about to, and the others wait for a request."""

    connections: int
    reading: int
    writing: int
    waiting: int
    accepted: int
    upstream_connections: int
    exchanges: int
    draining: bool
    events: dict[str, int]

TICKET_KEY_OCTETS: int

# The parsers without sockets, for tests and fuzzing.

class RequestHead(TypedDict):
    """A request head that was accepted; `length` octets of the input are its own. `host` is without port, in lower
    case; `path` is what routes are matched by; `fields` are as sent."""

    length: int
    method: bytes
    target: bytes
    minor: int
    host: bytes
    path: bytes
    content_length: int | None
    chunked: bool
    close: bool
    upgrade: bytes
    expect_continue: bool
    fields: list[tuple[bytes, bytes]]

class ResponseHead(TypedDict):
    """A response head that was accepted."""

    length: int
    status: int
    minor: int
    content_length: int | None
    chunked: bool
    close: bool
    fields: list[tuple[bytes, bytes]]

def parse_request_head(octets: bytes, *, field_limit: int = 100, target_limit: int = 32768) -> RequestHead | int | None:
    """What was understood; the status a refused head is answered with; or None while the head is not complete."""

def parse_response_head(octets: bytes) -> ResponseHead | int | None:
    """What was understood; 502 for a head that is refused; or None while it is not complete."""

def normalise_path(path: bytes) -> bytes | None:
    """The path routes are matched by; None for a bad escape or a path that climbs above its root."""

def rewrite_request(octets: bytes, *, client: str = "192.0.2.1", port: int = 80, tls: bool = False) -> bytes:
    """The head an endpoint gets for an acceptable request head. Raises ValueError for one that is not."""

def parse_proxy_header(octets: bytes) -> tuple[int, tuple[str, int, int] | None] | Literal[False] | None:
    """A PROXY header's length and what it says: the client's address and port, the port it connected to. None while it
    is not complete, False for what is none."""

def parse_client_hello(octets: bytes) -> bytes | Literal[False] | None:
    """The server name of a ClientHello in its TLS records, b"" without one. None while it is not complete, False for
    what is none."""

class ChunkedReader:
    """The chunked coding, fed in pieces."""

    def feed(self, octets: bytes) -> int:
        """How many of the octets belong to the body, -1 for wrong framing; collects the chunks' content."""

    @property
    def ended(self) -> bool: ...
    @property
    def content(self) -> bytes: ...

def sweep_late(deadline: int, ticks: list[int]) -> int:
    """File one deadline, later than all of `ticks`, on a wheel of its own that is swept at each of them: how many ticks
    ahead of the last sweep it is filed then."""

class Request:
    """ingress.filters.api.Request, of a route that has filters.

    Edits of fields that frame a message or steer a connection (Connection, Content-Length, Keep-Alive,
    Proxy-Connection, TE, Transfer-Encoding, Upgrade) have no effect. `set` and the like raise ValueError for what no
    field may hold, and so does setting `upstream_target` to what is not a path and query.
    """

    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def authority(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def secure(self) -> bool: ...
    @property
    def port(self) -> int: ...
    @property
    def client(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def content_length(self) -> int | None: ...
    @property
    def chunked(self) -> bool: ...
    @property
    def server_name(self) -> str: ...
    @property
    def client_certificate(self) -> ClientCertificate | None: ...
    def field(self, name: str) -> str | None: ...
    def fields(self) -> Sequence[tuple[str, str]]: ...
    def cookie(self, name: str) -> str | None: ...
    @property
    def route_id(self) -> int: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def rule_path(self) -> str: ...
    @property
    def captures(self) -> Sequence[str | None]: ...

    backend: str
    upstream_target: str
    pin: str
    pin_retries: bool
    hash_key: bytes
    log: bool
    compress: bool
    user: str
    alternative: str
    notes: dict[str, Any]

    def set(self, name: str, value: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def endpoints(self, backend: str) -> Sequence[str]: ...
    def set_response(self, name: str, value: str) -> None: ...
    def add_response(self, name: str, value: str) -> None: ...
    def remove_response(self, name: str) -> None: ...

class Response:
    """ingress.filters.api.Response, as it came: edits show only at the client."""

    @property
    def status(self) -> int: ...
    @property
    def own(self) -> bool: ...
    @property
    def endpoint(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    def field(self, name: str) -> str | None: ...
    def all(self, name: str) -> Sequence[str]: ...

class Errand:
    """A request of this process, and its response as it comes. See Engine.ask."""

    @property
    def status(self) -> int:
        """0 before there is a head."""

    @property
    def fields(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def outcome(self) -> Literal["", "whole", "cut", "gone"]:
        """How it has ended; "" while it is under way."""

    @property
    def ended(self) -> asyncio.Future[None]: ...
    def send(self, octets: bytes) -> None:
        """More of the request's body, framed as its head says."""

    def take(self) -> bytes:
        """What has come of the response's content since, without the chunked coding.

        Its endpoint waits while 256 kB have not been taken.
        """

    def cancel(self) -> None:
        """As a client that goes away."""

class Engine:
    """One worker's data plane. Every method is called on the loop's thread."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None: ...
    on_trouble: Callable[[str], object] | None
    """Told, now and then, why an endpoint cannot be reached by TLS, that descriptors have run out, and of exceptions
    from what filters await."""

    def configure(self, settings: Settings) -> None:
        """Go by other settings from now on. Backends, hosts and certificates go by those they were set under.

        Raises ValueError, and changes nothing, for what is wrong. `access_log_fd`, `read_buffer_bytes` and `seed` stay.
        """

    def listen(
        self,
        fd: int,
        *,
        tls: bool,
        port: int,
        proxy_protocol: bool = False,
        passthrough: bool = True,
        stream: bool = False,
    ) -> None:
        """Accept on a dup of `fd`, a listening socket; `port` is what X-Forwarded-Port says.

        With `proxy_protocol` every connection begins with a PROXY header, of version 1 or 2. A `tls` listener with
        `passthrough` looks at server names for those of set_passthrough. With `stream` no HTTP is spoken: connections
        go to what set_stream says of the port.
        """

    def set_backend(
        self, key: str, endpoints: Iterable[tuple[str, int] | tuple[str, int, int]], spec: BackendSpec = ...
    ) -> None:
        """Replace one backend: its (ip, port) or (ip, port, weight) endpoints and how they are chosen.

        Raises ValueError, and changes nothing, for what is wrong.
        """

    def choose(self, key: str, by: bytes = b"") -> str | None:
        """The endpoint, "ip:port", that a request would go to now, `by` being what a consistent hash goes by.

        None: there is none. Moves the backend's turn as a request does.
        """

    def remove_backend(self, key: str) -> None:
        """Forget a backend; routes that still name it answer 503."""

    def set_host(self, host: str, routes: Sequence[RouteSpec], *, patterns: Matcher | None = None) -> None:
        """Swap the whole table of one host: a name, "*.domain" for one label more, or "" for every other host.

        `patterns` says instead of the routes' paths which of them a path has, by its place.
        """

    def remove_host(self, host: str) -> None: ...
    def match(self, host: str, target: str) -> int | None:
        """The route id of a request for `target` (origin-form) at `host`, which may have a port; None: no route."""

    def set_certificate(self, host: str, certificate_pem: bytes, key_pem: bytes) -> None:
        """Serve a certificate chain (PEM, leaf first) to those who ask for `host`; "" is the default.

        Raises ValueError with OpenSSL's words; then the certificate of before stays.
        """

    def remove_certificate(self, host: str) -> None: ...
    def set_client_auth(self, host: str, spec: ClientAuth | None) -> None:
        """Ask the TLS clients of `host` (as in set_certificate) for certificates; None asks no longer.

        Raises ValueError with OpenSSL's words; then what was asked before stays.
        """

    def set_ciphers(self, host: str, ciphers: str) -> None:
        """Ciphers for TLS 1.2 with clients of `host`, in OpenSSL's names; "" are those of the settings.

        Raises ValueError for names that mean nothing; then those of before stay.
        """

    def set_ticket_keys(self, keys: Sequence[bytes]) -> None:
        """Keys for session tickets, each of TICKET_KEY_OCTETS random octets: the first makes tickets, all read them."""

    def set_passthrough(self, host: str, key: str | None) -> None:
        """Hand TLS connections for the server name `host` ("*.domain": one label more) to a backend, undecrypted.

        Other names are served as usual. None hands them through no longer; open connections stay.
        """

    def set_stream(self, port: int, key: str | None) -> None:
        """Hand connections to the stream listeners of a port to a backend. None closes these; open connections stay."""

    def set_access_log(self, fd: int) -> None:
        """Write the access log to a dup of `fd` from now on, or none for -1: how a log is rotated."""

    def log_datagrams(self, client: str, status: int, *, sent: int, received: int, seconds: float) -> None:
        """A line of the access log for a session of datagrams, if there is a log: octets to and from the client."""

    def fetch(
        self,
        key: str,
        method: str,
        target: str,
        *,
        fields: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        timeout_seconds: float = 60.0,
        limit_bytes: int = 65536,
    ) -> asyncio.Future[tuple[int, tuple[tuple[str, str], ...], bytes]]:
        """A request of our own to a backend, over its pooled connections: a future of its status, fields and body.

        `fields` need a Host; nothing is added but Content-Length, and no log line or counter tells of the request. The
        future fails with ConnectionError or TimeoutError, which say why. Raises ValueError for what is no request.
        """

    def ask(
        self, octets: bytes, *, client: str = "192.0.2.1", port: int = 0, own_port: int = 80, tls: bool = False
    ) -> Errand:
        """Have a request answered as if a client had sent it: its head, and what there is of its body, in HTTP/1.1.

        Routes, filters, limits, log and counters treat it as any other. Raises ValueError for a head that is refused.
        """

    def stop_accepting(self) -> None:
        """Drain: listeners closed at once, connections after their next response, idle ones after a moment."""

    @property
    def connections(self) -> int:
        """Downstream connections open."""

    def stats(self) -> Stats:
        """What has been counted since the start."""

    def seen_endpoints(self) -> Iterator[EndpointSeen]:
        """What has been seen of each endpoint since the start, one by one; one that is gone meanwhile is left out.

        An address that backends reach in several ways (transports) comes once for each.
        """

    def take_requests(self) -> Iterator[Counted]:
        """What requests were counted since they were last taken, row by row."""

    def close(self) -> None:
        """Close every socket at once."""
