"""Requests of a worker's own, to real servers."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from ingress import fetches
from ingress.fetches import Origin, read_url
from ingress.filters.api import FetchFailed
from ingress.proxy import Engine, Settings
from ingress.tools import WorkerTools
from tests.ingress.proxy.rig import Endpoint, Request, Script, echo, flood, until
from tests.ingress.proxy.test_compression import TEXT, answers
from tests.ingress.proxy.test_upstream_tls import SecureEndpoint
from tests.ingress.proxy.tls_peers import Authority, server

NOWHERE = ".".join(["nowhere" * 7] * 6)
"""Longer than a name may be, so that no server has to be asked."""


@dataclass
class Outside:
    """An engine with a worker's tools, and servers that it knows nothing of."""

    engine: Engine
    tools: WorkerTools
    endpoints: list[Endpoint] = field(default_factory=list)

    async def serve(self, endpoint: Endpoint, host: str = "127.0.0.1") -> int:
        """Its port."""
        await endpoint.start(host)
        self.endpoints.append(endpoint)
        return endpoint.address[1]

    def quiet(self) -> bool:
        return self.engine.stats()["exchanges"] == 0

    @property
    def origins(self) -> dict[Origin, fetches._Known]:
        return self.tools.fetches.origins


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    engine = Engine(Settings(), asyncio.get_running_loop())
    made = Outside(engine, WorkerTools(engine))
    yield made
    engine.close()
    for endpoint in made.endpoints:
        if endpoint.server is not None:
            endpoint.server.close()


@pytest.mark.parametrize(
    ("url", "origin", "target", "authority"),
    [
        ("http://a.example", Origin("http", "a.example", 80), "/", "a.example"),
        ("https://A.Example./x?y=z", Origin("https", "a.example", 443), "/x?y=z", "a.example"),
        ("http://a.example:8080?y", Origin("http", "a.example", 8080), "/?y", "a.example:8080"),
        ("https://[2001:db8::1]/#f", Origin("https", "2001:db8::1", 443), "/", "[2001:db8::1]"),
        ("http://192.0.2.1:81/", Origin("http", "192.0.2.1", 81), "/", "192.0.2.1:81"),
    ],
)
def test_what_a_url_says(url: str, origin: Origin, target: str, authority: str) -> None:
    assert read_url(url) == (origin, target)
    assert origin.authority == authority


@pytest.mark.parametrize(
    "url", ["", "a.example/x", "ftp://a.example", "http://", "http://u:p@a.example/", "http://a:x/"]
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_url(url)


async def test_there_and_back(outside: Outside) -> None:
    endpoint = Endpoint()
    url = f"http://127.0.0.1:{await outside.serve(endpoint)}/a%20b?c"
    answer = await outside.tools.fetch(url, method="PUT", fields=(("X-A", "b"),), body=b"body")
    assert (answer.status, answer.field("content-length"), answer.body) == (200, "17", b"PUT /a%20b?c|body")
    assert endpoint.requests[0].get("host") == f"127.0.0.1:{endpoint.address[1]}"
    assert endpoint.requests[0].get("x-a") == "b"
    await outside.tools.fetch(url, fields=(("host", "other.example"),))
    assert endpoint.requests[1].get("host") == "other.example"
    assert endpoint.accepted == 1


async def test_connections_are_kept(outside: Outside) -> None:
    endpoint = Endpoint()
    url = f"http://127.0.0.1:{await outside.serve(endpoint)}/"
    for _ in range(20):
        await outside.tools.fetch(url)
    assert endpoint.accepted == 1
    await endpoint.restart()
    assert (await outside.tools.fetch(url)).status == 200


async def test_fifty_at_once(outside: Outside) -> None:
    both = asyncio.Barrier(50)

    async def together(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await both.wait()
        await echo(got, reader, writer)

    url = f"http://127.0.0.1:{await outside.serve(Endpoint(together))}"
    async with asyncio.timeout(20):
        got = await asyncio.gather(*[outside.tools.fetch(f"{url}/{i}") for i in range(50)])
    assert [answer.body for answer in got] == [b"GET /%d|" % i for i in range(50)]
    assert len(outside.origins) == 1
    assert next(iter(outside.origins.values())).under_way == 0


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_whole_answers(outside: Outside, framing: str) -> None:
    url = f"http://127.0.0.1:{await outside.serve(Endpoint(answers(framing=framing)))}/"
    assert (await outside.tools.fetch(url)).body == TEXT
    assert (await outside.tools.fetch(url, limit_bytes=len(TEXT))).body == TEXT
    with pytest.raises(FetchFailed, match="longer than may be"):
        await outside.tools.fetch(url, limit_bytes=len(TEXT) - 1)


async def test_tls_without_a_known_authority(outside: Outside) -> None:
    port = await outside.serve(SecureEndpoint(server(Authority().issue("whoever"))))
    for host in ("127.0.0.1", "localhost"):
        assert (await outside.tools.fetch(f"https://{host}:{port}/x")).body == b"GET /x|"
    with pytest.raises(FetchFailed):
        await outside.tools.fetch(f"http://127.0.0.1:{port}/x", timeout_seconds=5)


async def test_names_are_looked_up_and_kept(outside: Outside) -> None:
    endpoint = Endpoint()
    url = f"http://LOCALHOST:{await outside.serve(endpoint)}/"
    await asyncio.gather(*[outside.tools.fetch(url) for _ in range(5)])
    (known,) = outside.origins.values()
    assert "127.0.0.1" in known.addresses
    known.until = 0.0  # long ago: asked again beside the request
    assert (await outside.tools.fetch(url)).status == 200
    await until(lambda: known.looking is None)
    assert known.until > 0
    assert endpoint.requests[0].get("host") == f"localhost:{endpoint.address[1]}"


async def test_names_that_mean_nothing(outside: Outside) -> None:
    with pytest.raises(FetchFailed, match="cannot be looked up"):
        await outside.tools.fetch(f"http://{NOWHERE}/")
    got = await asyncio.gather(*[outside.tools.fetch(f"http://{NOWHERE}/") for _ in range(5)], return_exceptions=True)
    assert all(isinstance(each, FetchFailed) for each in got)


@pytest.mark.parametrize("name", ["a..b", "a" * 64 + ".example", "\xe4.example\r\nX: y"])
async def test_names_that_are_none(outside: Outside, name: str) -> None:
    with pytest.raises(FetchFailed):
        await outside.tools.fetch(f"http://{name}/")


async def hang(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def nonsense(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")


async def both_lengths(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")


@pytest.mark.parametrize(
    ("script", "seconds", "why"),
    [
        (hang, 0.2, "no answer within 0.2 s"),
        (nonsense, 5, "no answer in HTTP"),
        (both_lengths, 5, "no answer in HTTP"),
        (flood, 5, "longer than may be"),
    ],
    ids=["time-out", "nonsense", "framing", "limit"],
)
async def test_why_it_failed(outside: Outside, script: Script, seconds: float, why: str) -> None:
    endpoint = Endpoint(script)
    url = f"http://127.0.0.1:{await outside.serve(endpoint)}/1"
    with pytest.raises(FetchFailed, match=why):
        await outside.tools.fetch(url, timeout_seconds=seconds)
    await until(lambda: endpoint.open == 0 and outside.quiet())


async def test_nobody_listens(outside: Outside) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(FetchFailed, match="no connection"):
        await outside.tools.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("method", "fields"), [("GE T", ()), ("GET", (("A", "b\nc"),)), ("GET", (("A", "\u20ac"),)), ("TRACE", ())]
)
async def test_what_is_no_request(outside: Outside, method: str, fields: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(FetchFailed):
        await outside.tools.fetch("http://127.0.0.1:9/", method=method, fields=fields)
    assert outside.quiet()


async def test_whoever_gives_up_frees_the_connection(outside: Outside) -> None:
    endpoint = Endpoint(hang)
    url = f"http://127.0.0.1:{await outside.serve(endpoint)}/"
    waiting = asyncio.create_task(outside.tools.fetch(url))
    await until(lambda: bool(endpoint.requests))
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting
    await until(lambda: endpoint.open == 0 and outside.quiet())


async def test_origins_out_of_use_are_forgotten(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetches, "ORIGINS_MAX", 20)
    endpoint = Endpoint()
    port = await outside.serve(endpoint, "0.0.0.0")
    for i in range(1, 40):
        assert (await outside.tools.fetch(f"http://127.0.0.{i}:{port}/")).status == 200
        assert len(outside.origins) <= 20
    assert Origin("http", "127.0.0.39", port) in outside.origins
    outside.tools.fetches._swept -= 2 * fetches.UNUSED_SECONDS
    for known in outside.origins.values():
        known.used -= 2 * fetches.UNUSED_SECONDS
    await outside.tools.fetch(f"http://127.0.0.1:{port}/")
    assert list(outside.origins) == [Origin("http", "127.0.0.1", port)]
    await until(lambda: endpoint.open == 1)


async def test_requests_under_way_are_not_forgotten(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetches, "ORIGINS_MAX", 1)
    go = asyncio.Event()

    async def late(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await echo(got, reader, writer)

    one, two = (
        f"http://127.0.0.1:{await outside.serve(Endpoint(late))}/",
        f"http://127.0.0.1:{await outside.serve(Endpoint())}/",
    )
    waiting = asyncio.create_task(outside.tools.fetch(one))
    await until(lambda: bool(outside.endpoints[0].requests))
    assert (await outside.tools.fetch(two)).status == 200
    go.set()
    assert (await waiting).status == 200
