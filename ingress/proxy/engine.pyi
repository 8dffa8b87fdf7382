"""Types of the compiled engine (engine.pyx)."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TypedDict

from ingress.proxy.settings import RouteSpec, Settings

class RouteStats(TypedDict):
    """One route and status. `octets_in` and `octets_out` count heads too; `buckets` are not cumulative:
    requests that took up to each of BUCKET_SECONDS, and at the end those that took longer."""

    requests: int
    octets_in: int
    octets_out: int
    seconds: float
    buckets: list[int]

class EndpointStats(TypedDict):
    """One ip:port: attempts, failed attempts, connections open and of these idle."""

    requests: int
    failures: int
    open: int
    idle: int

class Stats(TypedDict):
    """Counted since the engine was made. `requests`: (route id, status); route id -1 is no route. `events`: by reason."""

    connections: int
    accepted: int
    upstream_connections: int
    exchanges: int
    draining: bool
    requests: dict[tuple[int, int], RouteStats]
    endpoints: dict[str, EndpointStats]
    events: dict[str, int]

BUCKET_SECONDS: tuple[float, ...]

class Engine:
    """One worker's data plane. Every method is called on the loop's thread."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None: ...
    def listen(self, fd: int, *, tls: bool, port: int) -> None:
        """Accept on a dup of `fd`, a listening socket; `port` is what X-Forwarded-Port says."""

    def set_backend(self, key: str, endpoints: Iterable[tuple[str, int]]) -> None:
        """Replace one backend's (ip, port) endpoints. Raises ValueError, and changes nothing, for a wrong address."""

    def remove_backend(self, key: str) -> None:
        """Forget a backend; routes that still name it answer 503."""

    def set_host(self, host: str, routes: Sequence[RouteSpec]) -> None:
        """Swap the whole table of one host: a name, "*.domain" for one label more, or "" for every other host."""

    def remove_host(self, host: str) -> None: ...
    def set_certificate(self, host: str, certificate_pem: bytes, key_pem: bytes) -> None:
        """Serve a certificate chain (PEM, leaf first) to those who ask for `host`; "" is the default.

        Raises ValueError with OpenSSL's words; then the certificate of before stays.
        """

    def remove_certificate(self, host: str) -> None: ...
    def stop_accepting(self) -> None:
        """Drain: listeners closed, idle connections closed, the others after their request."""

    @property
    def connections(self) -> int:
        """Downstream connections open."""

    def stats(self) -> Stats:
        """What has been counted since the start."""

    def close(self) -> None:
        """Close every socket at once."""
