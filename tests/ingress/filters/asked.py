"""A request, its response and a worker's tools, in memory: what a filter is given in unit tests."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingress.filters.api import Answer, ClientCertificate, FetchFailed, Fields
from ingress.tallies import Tallies, make_tallies


def _set(fields: list[tuple[str, str]], name: str, value: str | None) -> None:
    """Replace every field of that name by one at the end; None: by nothing."""
    fields[:] = [each for each in fields if each[0].lower() != name.lower()]
    if value is not None:
        if any(octet in value for octet in "\r\n\0"):
            raise ValueError(f"{name}: no field may hold {value!r}")
        fields.append((name, value))


def _all(fields: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in fields if key.lower() == name.lower()]


@dataclass
class Asked:
    """ingress.filters.api.Request. `path` and `query` follow from `target` unless given."""

    target: str = "/"
    method: str = "GET"
    host: str = "shop.example.com"
    headers: Fields = ()
    """Field lines beside Host."""
    path: str = ""
    authority: str = ""
    version: str = "HTTP/1.1"
    secure: bool = False
    port: int = 80
    client: str = "192.0.2.7"
    peer: str = "192.0.2.7"
    id: str = "0123456789abcdef0123456789abcdef"
    content_length: int | None = None
    chunked: bool = False
    server_name: str = ""
    client_certificate: ClientCertificate | None = None
    route_id: int = 1
    labels: tuple[str, ...] = ("shop", "web", "cart", "80", "/")
    rule_path: str = "/"
    captures: Sequence[str | None] = ()
    backend: str = "shop/cart:80"
    upstream_target: str = ""
    pin: str = ""
    pin_retries: bool = False
    hash_key: bytes = b""
    log: bool = True
    compress: bool = True
    user: str = ""
    alternative: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    backends: dict[str, Sequence[str]] = field(default_factory=lambda: {"shop/cart:80": ("10.0.0.1:80",)})
    """For `endpoints`."""
    hashes: Callable[[bytes], str] = lambda key: ""
    """For `hashed`."""

    def __post_init__(self) -> None:
        self.authority = self.authority or self.host
        self.path = self.path or self.target.partition("?")[0]
        self.upstream_target = self.upstream_target or self.target
        self.headers = (("Host", self.authority), *self.headers)
        self.sent = list(self.headers)
        """What the endpoint gets."""
        self.edits: list[tuple[str, str, str | None]] = []

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def field(self, name: str) -> str | None:
        found = _all(self.sent, name)
        return ", ".join(found) if found else None

    def fields(self) -> Sequence[tuple[str, str]]:
        return self.headers

    def cookie(self, name: str) -> str | None:
        for each in "; ".join(_all(self.headers, "cookie")).split(";"):
            key, _, value = each.strip().partition("=")
            if key == name:
                return value
        return None

    def set(self, name: str, value: str) -> None:
        _set(self.sent, name, value)

    def remove(self, name: str) -> None:
        _set(self.sent, name, None)

    def endpoints(self, backend: str) -> Sequence[str]:
        return self.backends.get(backend, ())

    def hashed(self, key: bytes) -> str:
        return self.hashes(key)

    def set_response(self, name: str, value: str) -> None:
        _set([], name, value)
        self.edits.append(("set", name, value))

    def add_response(self, name: str, value: str) -> None:
        _set([], name, value)
        self.edits.append(("add", name, value))

    def remove_response(self, name: str) -> None:
        self.edits.append(("remove", name, None))

    def told(self, fields: Fields = ()) -> Fields:
        """What the client gets of a response with these fields."""
        found = list(fields)
        for how, name, value in self.edits:
            if how == "add":
                assert value is not None
                found.append((name, value))
            else:
                _set(found, name, value)
        return tuple(found)


@dataclass
class Answered:
    """ingress.filters.api.Response."""

    status: int = 200
    fields: Fields = ()
    own: bool = False
    endpoint: str = "10.0.0.1:80"
    attempts: int = 1

    def field(self, name: str) -> str | None:
        return next(iter(_all(self.fields, name)), None)

    def all(self, name: str) -> Sequence[str]:
        return _all(self.fields, name)


@dataclass
class Desk:
    """ingress.filters.api.Tools: clocks and chance as a test sets them, sub-requests answered by `answer`."""

    answer: Callable[[str, str, Fields, bytes], Answer] | None = None
    """(method, url, fields, body); None: every one fails."""
    clock: float = 1000.0
    date: float = 1_700_000_000.0
    chance: float = 0.5
    fetched: list[tuple[str, str, Fields, bytes]] = field(default_factory=list)
    tallies: Tallies = field(default_factory=lambda: Tallies(make_tallies(1), 0))
    spawned: list[Awaitable[object]] = field(default_factory=list)

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
        self.fetched.append((method, url, fields, body))
        if self.answer is None:
            raise FetchFailed(f"{url}: nobody there")
        return self.answer(method, url, fields, body)

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        return work()

    def spawn(self, work: Awaitable[object], what: str) -> None:
        self.spawned.append(work)

    def now(self) -> float:
        return self.clock

    def wall(self) -> float:
        return self.date

    def draw(self) -> float:
        return self.chance
