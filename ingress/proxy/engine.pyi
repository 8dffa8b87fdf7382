"""Types of the compiled engine (engine.pyx)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypedDict

from ingress.proxy.settings import BackendSpec, ClientAuth, RouteSpec, Settings

class RouteStats(TypedDict):
    """One route and status. `octets_in` and `octets_out` count heads too; `buckets` are not cumulative:
    requests that took up to each of BUCKET_SECONDS, and at the end those that took longer."""

    requests: int
    octets_in: int
    octets_out: int
    seconds: float
    buckets: list[int]

class EndpointStats(TypedDict):
    """One ip:port: attempts, failed attempts, connections open, of these idle; whether it is left out for failing."""

    requests: int
    failures: int
    open: int
    idle: int
    ejected: bool

class Stats(TypedDict):
    """Counted since the engine was made. `requests` is by (route id, status), route id -1 being no route;
    `events` is by reason."""

    connections: int
    accepted: int
    upstream_connections: int
    exchanges: int
    draining: bool
    requests: dict[tuple[int, int], RouteStats]
    endpoints: dict[str, EndpointStats]
    events: dict[str, int]

BUCKET_SECONDS: tuple[float, ...]
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

class Engine:
    """One worker's data plane. Every method is called on the loop's thread."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None: ...
    on_trouble: Callable[[str], object] | None
    """Told, now and then, why an endpoint cannot be reached by TLS."""
    def listen(self, fd: int, *, tls: bool, port: int, proxy_protocol: bool = False, passthrough: bool = True) -> None:
        """Accept on a dup of `fd`, a listening socket; `port` is what X-Forwarded-Port says.

        With `proxy_protocol` every connection begins with a PROXY header, of version 1 or 2. A `tls` listener with
        `passthrough` looks at server names for those of set_passthrough.
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

    def set_host(self, host: str, routes: Sequence[RouteSpec]) -> None:
        """Swap the whole table of one host: a name, "*.domain" for one label more, or "" for every other host."""

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

    def set_ticket_keys(self, keys: Sequence[bytes]) -> None:
        """Keys for session tickets, each of TICKET_KEY_OCTETS random octets: the first makes tickets, all read them."""

    def set_passthrough(self, host: str, key: str | None) -> None:
        """Hand TLS connections for the server name `host` ("*.domain": one label more) to a backend, undecrypted.

        Other names are served as usual. None hands them through no longer; open connections stay.
        """

    def set_access_log(self, fd: int) -> None:
        """Write the access log to a dup of `fd` from now on, or none for -1: how a log is rotated."""

    def stop_accepting(self) -> None:
        """Drain: listeners closed at once, connections after their next response, idle ones after a moment."""

    @property
    def connections(self) -> int:
        """Downstream connections open."""

    def stats(self) -> Stats:
        """What has been counted since the start."""

    def close(self) -> None:
        """Close every socket at once."""
