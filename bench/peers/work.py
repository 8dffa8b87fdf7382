"""What is asked of every proxy: the same hosts and paths, requests and bodies. Pure.

The small request is what a browser sends (about 470 bytes). Twenty hosts with five prefixes each are routed, unless a
work says otherwise; all lead to one endpoint (native/endpoint.c).
"""

import random
from dataclasses import dataclass
from typing import Literal

from bench.load.scenario import Expect, Request, Scenario, WebSocket

SMALL = "hello world\n"
MEBIBYTE = 1 << 20
HOST = "app7.example.com"
PREFIXES = ("/", "/api", "/static", "/api/v2", "/admin")

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br",
    "Referer": "https://app7.example.com/index.html",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
    "Sec-Fetch-Mode": "cors",
    "Cache-Control": "no-cache",
}
MORE_FIELDS = {
    "Origin": "https://example.com",
    "Pragma": "no-cache",
    "DNT": "1",
    "X-Requested-With": "XMLHttpRequest",
    "If-None-Match": 'W/"abcdef0123456789"',
    "sec-ch-ua": '"Chromium";v="126", "Not/A)Brand";v="8"',
    "sec-ch-ua-mobile": "?0",
    "Authorization": "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
}


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to measure. `buffers` are nginx's: as it comes, or large ones."""

    name: str
    about: str
    requests: tuple[Request, ...]
    connections: int = 64
    keep_alive: bool = True
    tls: bool = False
    hosts: int = 20
    prefixes: tuple[str, ...] = PREFIXES
    buffers: Literal["default", "large"] = "default"
    websocket: bool = False

    def scenario(self, port: int) -> Scenario:
        """The load for a proxy at 127.0.0.1:port."""
        scheme = "https" if self.tls else "http"
        return Scenario(
            target=f"{scheme}://127.0.0.1:{port}",
            requests=self.requests,
            keep_alive=self.keep_alive,
            websocket=WebSocket("/api/chat", host=HOST, headers=BROWSER) if self.websocket else None,
        )

    def host_names(self) -> list[str]:
        return [f"app{number}.example.com" for number in range(self.hosts)]


def small(host: str = HOST, path: str = "/api/v1/small") -> Request:
    return Request(path=path, host=host, headers=BROWSER, expect=Expect(status=200, body=SMALL))


def varied(count: int = 500, hosts: int = 20, seed: int = 42) -> tuple[Request, ...]:
    """Many different requests: hosts, paths, 5 to 14 fields in any order, cookies of 20 to 400 bytes."""
    draw = random.Random(seed)
    pool = list({**BROWSER, **MORE_FIELDS}.items())
    made = []
    for number in range(count):
        fields = dict(draw.sample(pool, draw.randint(5, 14)))
        fields["Cookie"] = "sid=" + draw.choice("abcdefghij") * draw.randint(20, 400)
        prefix = draw.choice(PREFIXES)
        path = f"{prefix.rstrip('/')}/{number}?id={number}"
        made.append(Request(path=path, host=f"app{draw.randrange(hosts)}.example.com", headers=fields))
    return tuple(made)


def sized(path: str) -> tuple[Request, ...]:
    return (Request(path=path, host=HOST, headers=BROWSER),)


def many_hosts(hosts: int, count: int = 500) -> tuple[Request, ...]:
    draw = random.Random(7)
    return tuple(small(f"app{draw.randrange(hosts)}.example.com", f"/p{draw.randrange(10)}/x") for _ in range(count))


def posted(octets: int) -> tuple[Request, ...]:
    return (Request(method="POST", path="/api/v1/small", host=HOST, headers=BROWSER, body_bytes=octets),)


BIG = f"/{MEBIBYTE}"
"""The path that the endpoint answers with a body of 1 MiB."""
MESSAGES = (Request(body_bytes=100, host=HOST),)
TEN_PREFIXES = tuple(f"/p{number}" for number in range(10))

WORKS = (
    Work("keep-alive", "browser-like requests, 12-byte answers, connections kept", (small(),)),
    Work("varied", "500 different requests over 20 hosts", varied()),
    Work("new-connections", "a new connection for each request", (small(),), keep_alive=False),
    Work("post-1k", "requests with a body of 1 KiB", posted(1024)),
    Work("body-1k", "answers of 1 KiB", sized("/1024")),
    Work("post-1m", "requests with a body of 1 MiB, passed on as it comes", posted(MEBIBYTE), connections=16),
    Work("body-1m", "answers of 1 MiB; nginx with large buffers", sized(BIG), connections=16, buffers="large"),
    Work("body-1m-default", "answers of 1 MiB; nginx as it comes", sized(BIG), connections=16),
    Work("tls-keep-alive", "TLS 1.3, connections kept", (small(),), tls=True),
    Work(
        "tls-handshakes", "TLS 1.3, a full handshake for each request, tickets", (small(),), tls=True, keep_alive=False
    ),
    Work("websocket", "messages of 100 bytes to an echo, connections upgraded once", MESSAGES, websocket=True),
    Work("hosts-20", "20 hosts with 10 paths each", many_hosts(20), prefixes=TEN_PREFIXES),
    Work("hosts-10000", "10,000 hosts with 10 paths each", many_hosts(10_000), hosts=10_000, prefixes=TEN_PREFIXES),
)
QUICK = ("keep-alive", "varied", "new-connections", "post-1k", "body-1m", "tls-keep-alive", "tls-handshakes")


def work_named(name: str) -> Work:
    """Raises KeyError naming those there are."""
    for work in WORKS:
        if work.name == name:
            return work
    raise KeyError(f"no work is called {name!r}; there are: {', '.join(work.name for work in WORKS)}")
