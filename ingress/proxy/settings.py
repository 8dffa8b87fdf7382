"""What the data plane is told: settings of a worker's engine and the routes of a host."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

from ingress.filters.chain import Chain
from ingress.proxy.counted import LENGTH_BUCKETS, SIZE_BUCKETS, TIME_BUCKETS

Fields = tuple[tuple[str, str], ...]
"""Names and values, latin-1. Each takes the place of all fields of that name."""


class RouteOptions(NamedTuple):
    """How one route's exchanges are treated. None: as the engine's Settings say."""

    body_limit_bytes: int | None = None
    request_buffering: bool | None = None
    response_buffering: bool | None = None
    compress: bool | None = None
    # What is put into heads, and taken out of them. Filters come after it.
    request_set: Fields = ()  # towards endpoints
    request_remove: tuple[str, ...] = ()
    response_set: Fields = ()  # towards clients, whoever answers
    response_set_secure: Fields = ()  # and to those who speak TLS
    response_remove: tuple[str, ...] = ()
    log: bool = True  # whether the access log gets a line
    rate_bytes_per_second: int = 0  # of a response to its client; 0: no limit
    rate_after_bytes: int = 0  # of a response, before the limit begins


class RouteSpec(NamedTuple):
    """One path of one host.

    `path` begins with "/". A prefix covers whole segments, and "/foo/" covers what "/foo" covers;
    where both are there, the longer wins. An exact path beats every prefix.
    `route_id` is what the counters are kept by; the caller knows what it stands for.
    """

    path: str
    exact: bool
    backend: str
    route_id: int
    labels: tuple[
        str, ...
    ] = ()  # for the log: namespace, ingress, service, service port, path; any of them may be missing
    options: RouteOptions = RouteOptions()
    filters: Chain | None = None


class Matcher(Protocol):
    """Finds the route of a path where paths are patterns: ingress/proxy/patterns.py."""

    def find(self, path: bytes) -> tuple[int, tuple[str | None, ...]] | None:
        """The route's place, and what its pattern has captured. None: there is none."""


COMPRESS_TYPES = (
    "text/html",
    "application/atom+xml",
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-web-app-manifest+json",
    "application/xhtml+xml",
    "application/xml",
    "font/opentype",
    "image/svg+xml",
    "image/x-icon",
    "text/css",
    "text/javascript",
    "text/plain",
    "text/x-component",
)  # as ingress-nginx

_BOUNDS = {
    "head_limit_bytes": (256, 1 << 20),
    "target_limit_bytes": (16, 65536),
    "field_limit": (1, 256),
    "pipeline_limit_bytes": (1024, 1 << 24),
    "client_octets_per_second": (1, 1 << 30),
    "eject_after_failures": (0, 1 << 20),
    "attempts": (1, 8),
    "idle_per_endpoint": (0, 1 << 20),
    "requests_per_connection": (1, 1 << 30),
    "response_head_limit_bytes": (256, 65536),
    "read_buffer_bytes": (1024, 1 << 24),
    "listen_batch": (1, 4096),
    "body_limit_bytes": (0, 1 << 60),
    "request_buffer_bytes": (0, 1 << 30),
    "response_buffer_bytes": (0, 1 << 30),
    "gzip_level": (1, 9),
    "brotli_level": (0, 11),
    "zstd_level": (1, 19),
    "compress_least_bytes": (0, 1 << 30),
}
_MAY_BE_ZERO = ("retry_seconds", "upstream_age_seconds")
_YEAR_SECONDS = 86400 * 365


def _check_more(found: "Settings | BackendSpec") -> None:
    """Raises ValueError for what may be 0 or None, and is neither that nor sensible."""
    for name in found.__slots__:
        value = getattr(found, name)
        if value is not None and name.endswith("_seconds") and not 0 <= value <= _YEAR_SECONDS:
            raise ValueError(f"{name} is {value}: must be 0 to a year")
    if found.eject_share is not None and not 0 <= found.eject_share <= 1:
        raise ValueError(f"eject_share is {found.eject_share}: must be 0 to 1")


def _check_buckets(name: str, bounds: tuple[float, ...]) -> None:
    if not 1 <= len(bounds) <= 24 or bounds[0] <= 0 or bounds[-1] > 1e9 or any(a >= b for a, b in pairwise(bounds)):
        raise ValueError(f"{name}: 1 to 24 numbers up to 1e9, each greater than the one before")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuth:
    """What a host asks of its TLS clients. Requests without what is asked for are answered with 400."""

    ca_pem: bytes = b""  # CA certificates, and revocation lists if there are any
    verify: Literal["on", "optional", "optional_no_ca"] = "on"
    depth: int = 1  # intermediate certificates in a chain
    pass_certificate: bool = False  # endpoints get it as ssl-client-cert
    error_page: str = ""  # clients are redirected there instead of getting 400


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """TLS to a backend's endpoints."""

    server_name: str = ""  # sent as SNI, and what the certificate must be for if it is verified; "" neither
    verify: bool = False
    verify_depth: int = 1
    ca_pem: bytes = b""  # "" with verify: the system's
    certificate_pem: bytes = b""  # shown to the endpoints, with its chain
    key_pem: bytes = b""
    protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    ciphers: str = ""  # OpenSSL's names, for TLS 1.2; "" is OpenSSL's list


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How a backend's endpoints are spoken to, if not plainly."""

    tls: UpstreamTls | None = None
    proxy_protocol: int = 0  # version of a PROXY header before TLS: 1 or 2; then no connection serves two requests


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSpec:
    """How one backend's endpoints are chosen, tried again and given up. None: as the engine's Settings say.

    `algorithm` is one of
      round_robin     in turn, by weight;
      ewma            of two at random the one that answers sooner: a moving average that follows a slow answer at once;
      least_requests  of two at random the one with fewer requests under way;
      ring, maglev    consistent hash of what `hash_by` names: the same key, the same endpoint, and few keys move when
                      endpoints come or go. A ring keeps more keys where they are, maglev's shares are more even.
    `hash_by`: "client" (its address), "uri" (target with query), "header:NAME", "cookie:NAME" or "filter" (hash_key of
    the filters' Request); requests without such a thing go anywhere.
    """

    algorithm: str = "round_robin"
    hash_by: str = ""
    load_bound: float = 1.25  # hashing: who has this times its share of the requests is passed over; 0: nobody
    slow_start_seconds: float = 0.0  # a new endpoint's share grows for so long; not with a consistent hash
    attempts: int | None = None
    retry_on: tuple[str, ...] | None = None
    retry_seconds: float | None = None
    connect_seconds: float | None = None
    send_seconds: float | None = None
    read_seconds: float | None = None
    eject_after_failures: int | None = None
    eject_seconds: float | None = None
    eject_share: float | None = None
    transport: Transport = Transport()

    def __post_init__(self) -> None:
        """Raises ValueError for what could not work. What has to do with names the engine checks."""
        _check_more(self)
        if self.attempts is not None and not 1 <= self.attempts <= 1000:
            raise ValueError(f"attempts is {self.attempts}: must be 1 to 1000")
        if self.load_bound != 0 and not 1 <= self.load_bound <= 1e6:
            raise ValueError(f"load_bound is {self.load_bound}: must be 0 or at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Limits, time-outs and buffer sizes of one engine. Sizes in bytes, times in seconds."""

    # What a client may send.
    head_limit_bytes: int = 65536  # a longer request head is answered with 431
    target_limit_bytes: int = 32768  # a longer request target is answered with 414
    field_limit: int = 100  # more fields than this are answered with 431
    pipeline_limit_bytes: int = 65536  # read ahead of the request in work, then the client waits

    # How long a step may take.
    client_head_seconds: float = 60.0  # from a head's first byte to its last: 408
    client_body_seconds: float = 60.0  # without a request body's next octets: 408
    client_idle_seconds: float = 75.0  # keep-alive without a request
    client_send_seconds: float = 60.0  # without a client reading its response
    client_octets_per_second: float = 240.0  # a slower body, or a slower reader, uses up the two limits above
    drain_idle_seconds: float = 1.0  # once draining, for a next request, which is then the connection's last
    lingering_seconds: float = 5.0  # reading on after the last answer, so that it is not lost to a reset
    half_close_probe_seconds: float = (
        1.0  # after a client's FIN, before an interim response asks whether it is still there
    )
    connect_seconds: float = 5.0
    upstream_send_seconds: float = 60.0
    upstream_read_seconds: float = 60.0
    upstream_idle_seconds: float = 60.0  # a pooled connection is closed after so long

    # Towards the endpoints. Ejection is passive: an endpoint that fails again and again is left out for a while,
    # but never more than half of a backend's endpoints are.
    eject_after_failures: int = 5  # in a row; 0 never ejects
    eject_seconds: float = 10.0  # doubled with every ejection in a row, up to 16 times
    attempts: int = 3  # endpoints tried for one request, the first one included
    idle_per_endpoint: int = 320  # pooled connections kept per endpoint and worker
    requests_per_connection: int = 10000  # then an endpoint's connection is closed
    response_head_limit_bytes: int = 65536  # a longer response head is answered with 502

    # What the answers say.
    server: str = "causeway"  # Server field, if the endpoint sent none; "" adds none
    brand: str = "causeway"  # the line under an error page's heading; "" leaves it out

    read_buffer_bytes: int = 524288  # one for the whole engine: what one read may take
    listen_batch: int = 64  # connections accepted per wake-up
    access_log_fd: int = -1  # a file, pipe or socket of the caller's; -1 writes no access log
    access_log_format: str = ""  # text with nginx's $variables; "" is ingress-nginx's upstreaminfo
    access_log_escape: str = "default"  # of values: default, json or none, as nginx's log_format

    # Trying again: "error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_403",
    # "http_404", "http_429", "non_idempotent", or "off" alone, as nginx's proxy_next_upstream.
    # Whatever they say: a refused connection is tried elsewhere, and nothing is after octets of the response.
    retry_on: tuple[str, ...] = ("error", "timeout")
    retry_seconds: float = 0.0  # no attempt begins later than this after the first; 0: no limit
    eject_share: float = 0.5  # when more of a backend's endpoints are ejected, none is left out: who would be left?
    upstream_age_seconds: float = 3600.0  # an older connection is not used again; 0: no limit

    # Bodies. Each of the first four may be another one for a route (RouteOptions).
    body_limit_bytes: int = 0  # a longer request body is answered with 413; 0: no limit
    request_buffering: bool = False  # ask the endpoint only once the whole body is here
    response_buffering: bool = False  # take responses faster than their clients do
    compress: bool = False
    request_buffer_bytes: int = 65536  # of a body that is buffered; what is more goes to a file
    response_buffer_bytes: int = 1048576  # of a response that is buffered; then the endpoint waits
    spool_folder: str = ""  # where those files are made; "" is the system's folder for such
    compressions: tuple[str, ...] = ("br", "zstd", "gzip")  # the first of those that the client likes equally
    gzip_level: int = 1
    brotli_level: int = 4
    zstd_level: int = 3
    compress_least_bytes: int = 256  # a shorter response stays as it is, if its length is known beforehand
    compress_types: tuple[str, ...] = COMPRESS_TYPES  # "*" is every type

    seed: int = 0  # of the choices made at random, to repeat a run; 0: a new one every time

    # Where requests come from. Nothing that a client says of it is believed unless its address is in a trusted range.
    trusted_proxies: tuple[str, ...] = ()  # "10.0.0.0/8", "::1"
    proxy_protocol_from: tuple[str, ...] | None = None  # whose PROXY headers are believed; None: trusted_proxies
    proxy_header_seconds: float = 5.0  # for the whole PROXY header
    use_forwarded_headers: bool = False  # believe X-Forwarded-For, -Host, -Port and -Proto of trusted proxies
    enable_real_ip: bool = False  # of these, X-Forwarded-For only
    forwarded_for_header: str = "X-Forwarded-For"  # the field that lists addresses
    compute_full_forwarded_for: bool = False  # trusted list and peer, instead of the client alone
    forwarded: bool = False  # RFC 7239 Forwarded as well
    underscores: bool = True  # whether fields with "_" in their names go on: to many endpoints that is a "-"

    # Upper bounds of histograms, in seconds and octets: durations, lengths of requests and responses, sizes of these.
    time_buckets: tuple[float, ...] = TIME_BUCKETS
    length_buckets: tuple[float, ...] = LENGTH_BUCKETS
    size_buckets: tuple[float, ...] = SIZE_BUCKETS

    # TLS to clients.
    tls_protocols: tuple[str, ...] = ("TLSv1.2", "TLSv1.3")
    tls_ciphers: str = ""  # OpenSSL's names, for TLS 1.2; "" is Mozilla's intermediate list
    tls_reject_unknown: bool = False  # no handshake for server names that have neither certificate nor routes
    tls_session_tickets: bool = True
    tls_session_seconds: float = 7200.0  # a session is not resumed when it is older
    passthrough_idle_seconds: float = 600.0  # a connection handed through, without an octet either way

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that could not work."""
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}: must be {least} to {most}")
        for name in self.__slots__:
            if name.endswith("_buckets"):
                _check_buckets(name, getattr(self, name))
            if name.endswith("_seconds") and name not in _MAY_BE_ZERO and not 0 < getattr(self, name) <= _YEAR_SECONDS:
                raise ValueError(f"{name} is {getattr(self, name)}: must be more than 0 and at most a year")
        _check_more(self)
