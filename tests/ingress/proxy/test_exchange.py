"""Exchanges without a client's connection: routes, attempts, limits, compression, log and counters all the same."""

import asyncio
import gzip
import os
import socket
from pathlib import Path

import pytest

from ingress.filters.api import Elsewhere, Reply, Response
from ingress.filters.api import Request as Filtered
from ingress.proxy import BackendSpec, Engine, RouteOptions, RouteSpec, Settings
from ingress.proxy.engine import Errand
from tests.ingress.proxy.rig import Endpoint, Request, Rig, Script, echo, flood, request, rig, until
from tests.ingress.proxy.test_compression import TEXT, answers
from tests.ingress.proxy.test_filters import chain, route
from tests.ingress.proxy.test_log import open_log, parsed


def ask(r: Rig, path: str = "/", *fields: str, method: str = "GET", body: bytes = b"") -> Errand:
    return r.engine.ask(request(path, *fields, method=method, body=body))


async def whole(errand: Errand, outcome: str = "whole") -> tuple[int, bytes]:
    """Status and content, when all of it has come."""
    content = b""
    async with asyncio.timeout(10):
        while not errand.ended.done():
            content += errand.take()
            await asyncio.sleep(0)
    assert errand.outcome == outcome
    return errand.status, content + errand.take()


def field(errand: Errand, name: str) -> str | None:
    return next((value for key, value in errand.fields if key.lower() == name), None)


def no_client(r: Rig) -> bool:
    return r.engine.connections == 0 and r.engine.stats()["accepted"] == 0


async def test_there_and_back_over_one_pooled_connection() -> None:
    async with rig() as r:
        for path in ("/a", "/b?c=d", "/e%20f"):
            assert await whole(ask(r, path)) == (200, f"GET {path}|".encode())
        assert r.endpoint.accepted == 1
        assert [each.get("x-forwarded-for") for each in r.endpoint.requests] == ["192.0.2.1"] * 3
        assert r.answered[1, 200] == 3
        assert no_client(r)


async def test_whom_it_is_from() -> None:
    async with rig(settings=Settings(trusted_proxies=("198.51.100.0/24",), use_forwarded_headers=True)) as r:
        asked = request("/", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http")
        for client in ("198.51.100.7", "192.0.2.9"):
            await whole(r.engine.ask(asked, client=client, own_port=8443, tls=True))
        trusted, other = r.endpoint.requests
        assert (trusted.get("x-real-ip"), trusted.get("x-forwarded-proto")) == ("203.0.113.9", "http")
        assert (other.get("x-real-ip"), other.get("x-forwarded-proto")) == ("192.0.2.9", "https")
        assert (trusted.get("x-forwarded-port"), other.get("x-forwarded-port")) == ("8443", "8443")


async def test_routes() -> None:
    async with rig(echo, echo) as r:
        r.engine.set_backend("other", [r.endpoints[1].address])
        r.engine.remove_host("")
        r.engine.set_host("shop.example", [RouteSpec("/other", False, "other", 7), RouteSpec("/gone", True, "gone", 8)])
        assert (await whole(ask(r, "/other/x")))[0] == 200
        assert (await whole(ask(r, "/else")))[0] == 404
        status, page = await whole(ask(r, "/gone"))
        assert status == 503
        assert b"503 Service Unavailable" in page
        assert set(r.answered) == {(7, 200), (-1, 404), (8, 503)}
        assert len(r.endpoints[1].requests) == 1
        assert no_client(r)


@pytest.mark.parametrize(
    "octets", [b"GET / HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1"]
)
async def test_heads_are_judged_as_any_other(octets: bytes) -> None:
    async with rig() as r:
        with pytest.raises(ValueError, match=r"refused with 40[05]|no complete head"):
            r.engine.ask(octets)
        assert r.engine.stats()["exchanges"] == 0


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
async def test_a_body_in_pieces(coded: bool) -> None:
    async with rig() as r:
        pieces = [os.urandom(50_000) for _ in range(20)]
        framing = "Transfer-Encoding: chunked" if coded else "Content-Length: 1000000"
        errand = ask(r, "/", framing, method="PUT")
        for piece in pieces:
            errand.send(b"%x\r\n%s\r\n" % (len(piece), piece) if coded else piece)
            await asyncio.sleep(0)
        if coded:
            errand.send(b"0\r\n\r\n")
        assert await whole(errand) == (200, b"PUT /|" + b"".join(pieces))
        assert sum(row.octets_in for row in r.counted) > 1_000_000


async def test_a_body_that_comes_before_the_endpoint_is_there() -> None:
    async with rig() as r:
        errand = ask(r, "/", "Content-Length: 300000", method="PUT")
        errand.send(bytes(300_000))
        assert (await whole(errand))[1] == b"PUT /|" + bytes(300_000)


@pytest.mark.parametrize("buffered", [False, True], ids=["streamed", "buffered"])
async def test_limits(buffered: bool) -> None:
    async with rig(settings=Settings(body_limit_bytes=1000, request_buffering=buffered)) as r:
        assert (await whole(ask(r, method="PUT", body=bytes(1000))))[0] == 200
        assert (await whole(ask(r, method="PUT", body=bytes(1001))))[0] == 413
        errand = ask(r, "/", "Transfer-Encoding: chunked", method="PUT")
        errand.send(b"258\r\n%s\r\n191\r\n" % bytes(600))
        assert (await whole(errand))[0] == 413
        assert r.answered[1, 413] == 2


async def test_a_body_that_is_buffered(tmp_path: Path) -> None:
    settings = Settings(request_buffering=True, request_buffer_bytes=1000, spool_folder=str(tmp_path))
    async with rig(settings=settings) as r:
        errand = ask(r, "/", "Transfer-Encoding: chunked", "Expect: 100-continue", method="PUT")
        assert errand.status == 100
        errand.send(b"2000\r\n%s\r\n" % bytes(0x2000))
        await asyncio.sleep(0)
        assert r.endpoint.requests == []
        errand.send(b"0\r\n\r\n")
        assert await whole(errand) == (200, b"PUT /|" + bytes(0x2000))
        assert r.endpoint.requests[0].get("content-length") == str(0x2000)
        assert r.event("spooled") == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("coding", ["gzip", ""])
async def test_content_comes_without_framing(framing: str, coding: str) -> None:
    async with rig(answers(framing=framing), settings=Settings(compress=True)) as r:
        errand = ask(r, "/", f"Accept-Encoding: {coding or 'identity'}")
        status, content = await whole(errand)
        assert (gzip.decompress(content) if coding else content) == TEXT
        assert status == 200
        assert field(errand, "content-encoding") == (coding or None)
        assert field(errand, "transfer-encoding") is None
        assert field(errand, "connection") is None


async def test_a_response_without_content() -> None:
    async with rig() as r:
        errand = ask(r, method="HEAD")
        assert await whole(errand) == (200, b"")
        assert field(errand, "content-length") == "7"


async def slam(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_retries() -> None:
    async with rig(slam, echo, settings=Settings(eject_after_failures=0)) as r:
        for _ in range(4):
            assert (await whole(ask(r)))[0] == 200
        assert r.event("retries") >= 1
        status, page = await whole(ask(r, method="POST", body=b"x"))
        if status != 200:
            assert (status, b"502 Bad Gateway" in page) == (502, True)
        r.engine.set_backend("backend", [r.endpoints[0].address], BackendSpec(attempts=1))
        assert (await whole(ask(r)))[0] == 502
        assert no_client(r)


async def test_a_reader_that_is_slow_holds_its_endpoint_up() -> None:
    """What waits is bounded, and every octet comes."""
    async with rig(flood) as r:
        errand = ask(r, "/16")
        await until(lambda: errand.status == 200)
        held = await settled(r)
        assert held < 14 << 20
        size = 0
        async with asyncio.timeout(20):
            while not errand.ended.done():
                size += len(errand.take())
                await asyncio.sleep(0)
        assert size + len(errand.take()) == 16 << 20


async def settled(r: Rig) -> int:
    """What the endpoint's system still holds for its connection, once that no longer changes."""
    writer = next(iter(r.endpoint.writers))
    last, same = -1, 0
    while same < 20:
        await asyncio.sleep(0.01)
        now = writer.transport.get_write_buffer_size()
        same = same + 1 if now == last else 0
        last = now
    return 0 if last else 14 << 20


@pytest.mark.parametrize("when", ["before its answer", "in its answer"])
async def test_a_client_that_goes(when: str) -> None:
    async def half(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if when == "in its answer":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()
        writer.close()

    async with rig(half) as r:
        errand = ask(r)
        await until(lambda: bool(r.endpoint.requests) and (errand.status == 200 or when.startswith("before")))
        errand.cancel()
        assert errand.outcome == "gone"
        await errand.ended
        await until(lambda: r.endpoint.open == 0)
        assert (1, 200 if when == "in its answer" else 499) in r.answered
        assert r.event("client_aborts") == 1


async def test_a_response_that_is_cut() -> None:
    async def cut(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        writer.close()

    async with rig(cut) as r:
        assert await whole(ask(r), "cut") == (200, b"half")


async def test_no_other_protocol() -> None:
    async def switch(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")

    async with rig(switch) as r:
        assert (await whole(ask(r, "/", "Upgrade: x", "Connection: upgrade")))[0] == 502
        assert r.endpoint.requests[0].get("upgrade") is None


async def test_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = open_log(path)
    async with rig(settings=Settings(access_log_fd=fd)) as r:
        os.close(fd)
        await whole(r.engine.ask(request("/a?b"), client="2001:db8::7"))
        await until(lambda: path.exists() and path.read_bytes().count(b"\n") == 1)
        (line,) = parsed(path)
        assert line["remote_addr"] == "2001:db8::7"
        assert line["request"] == "GET /a?b HTTP/1.1"
        assert (line["status"], line["body_bytes_sent"]) == ("200", "9")
        assert line["upstream_name"] == "backend"
        assert line["upstream_addr"] == "{}:{}".format(*r.endpoint.address)


async def test_options_of_a_route() -> None:
    async with rig(answers()) as r:
        r.engine.set_host(
            "", [RouteSpec("/", False, "backend", 1, (), RouteOptions(compress=True, body_limit_bytes=1))]
        )
        errand = ask(r, "/", "Accept-Encoding: gzip")
        assert gzip.decompress((await whole(errand))[1]) == TEXT
        assert (await whole(ask(r, method="PUT", body=b"12")))[0] == 413


@pytest.mark.parametrize("takes_time", [False, True], ids=["at once", "later"])
async def test_filters(takes_time: bool) -> None:
    ended: list[int] = []
    decide = asyncio.Event()

    async def later(asked: Filtered) -> Reply | None:
        await decide.wait()
        return now(asked)

    def now(asked: Filtered) -> Reply | None:
        asked.set("X-Client", asked.client)
        asked.set_response("X-Seen", asked.path)
        return Reply(403, (), b"not you") if asked.path == "/no" else None

    async with rig() as r:
        route(r, chain(later if takes_time else now, finish=lambda asked, status: ended.append(status)))
        yes, no = ask(r, "/yes", "Content-Length: 6", method="PUT"), ask(r, "/no")
        yes.send(b"be")
        if takes_time:
            gone = ask(r, "/gone")
            await asyncio.sleep(0)
            gone.cancel()
            assert gone.outcome == "gone"
        decide.set()
        yes.send(b"fore")
        assert await whole(yes) == (200, b"PUT /yes|before")
        assert await whole(no) == (403, b"not you")
        assert [field(each, "x-seen") for each in (yes, no)] == ["/yes", "/no"]
        assert [each.get("x-client") for each in r.endpoint.requests] == ["192.0.2.1"]
        assert sorted(ended) == sorted([200, 403] + [499] * takes_time)


async def test_a_filter_may_send_elsewhere() -> None:
    def elsewhere(asked: Filtered, response: Response) -> Elsewhere | None:
        return Elsewhere("other", "/page", (("X-Code", str(response.status)),), 404) if response.status == 418 else None

    async with rig(answers(b"", status=418), echo) as r:
        r.engine.set_backend("backend", [r.endpoints[0].address])
        r.engine.set_backend("other", [r.endpoints[1].address])
        route(r, chain(response=elsewhere))
        assert await whole(ask(r)) == (404, b"GET /page|")
        assert r.endpoints[1].requests[0].get("x-code") == "418"


async def test_many_at_once() -> None:
    async with rig() as r:
        errands = [ask(r, f"/{i}") for i in range(200)]
        for i, errand in enumerate(errands):
            assert await whole(errand) == (200, b"GET /%d|" % i)
        assert r.engine.stats()["exchanges"] == 0


# -- requests of the proxy's own


async def fetch(r: Rig, target: str = "/", method: str = "GET", **more: object) -> tuple[int, object, bytes]:
    async with asyncio.timeout(10):
        return await r.engine.fetch("backend", method, target, **{"fields": [("Host", "auth.example")], **more})  # type: ignore[arg-type]


async def test_a_request_of_our_own_says_what_it_was_given_and_nothing_else() -> None:
    async with rig() as r:
        fields = [("Host", "auth.example"), ("X-One", "1"), ("Connection", "close"), ("Content-Length", "99")]
        status, _, body = await fetch(r, "/verify?a=b", "POST", fields=fields, body=b"body")
        assert (status, body) == (200, b"POST /verify?a=b|body")
        head = b"POST /verify?a=b HTTP/1.1\r\nHost: auth.example\r\nX-One: 1\r\nContent-Length: 4\r\n\r\n"
        assert r.endpoint.requests[0].head == head


async def test_our_own_are_neither_logged_nor_counted(tmp_path: Path) -> None:
    fd = open_log(tmp_path / "log")
    async with rig(settings=Settings(access_log_fd=fd)) as r:
        os.close(fd)
        assert (await fetch(r))[0] == 200
        with pytest.raises(ConnectionError):
            await fetch(r, limit_bytes=3)
        assert r.answered == {}
        assert r.event("client_aborts") == 0
    assert (tmp_path / "log").read_bytes() == b""


async def test_fetch_and_clients_share_a_pool() -> None:
    async with rig() as r:
        await r.get()
        for i in range(5):
            assert (await fetch(r, f"/{i}"))[0] == 200
        assert r.endpoint.accepted == 1


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_fetched_whole(framing: str) -> None:
    async with rig(answers(TEXT, "X-A: 1", "X-A: 2", framing=framing)) as r:
        status, fields, body = await fetch(r)
        assert (status, body) == (200, TEXT)
        assert [value for name, value in fields if name == "X-A"] == ["1", "2"]  # type: ignore[attr-defined]


async def late(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def nonsense(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")


async def half(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    writer.close()


@pytest.mark.parametrize(
    ("script", "more", "error", "why"),
    [
        (late, {"timeout_seconds": 0.2}, TimeoutError, "too long"),
        (flood, {"target": "/8", "limit_bytes": 100_000}, ConnectionError, "longer than may be"),
        (nonsense, {}, ConnectionError, "no answer in HTTP"),
        (half, {}, ConnectionError, "before it was complete"),
        (slam, {}, ConnectionError, "no connection"),
    ],
    ids=["time-out", "limit", "nonsense", "cut", "closed"],
)
async def test_why_there_is_no_answer(
    script: Script, more: dict[str, object], error: type[Exception], why: str
) -> None:
    async with rig(script) as r:
        with pytest.raises(error, match=why):
            await fetch(r, **more)  # type: ignore[arg-type]
        await until(lambda: r.endpoint.open == 0)
        await r.quiet()


async def test_nobody_listens() -> None:
    async with rig() as r:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        r.engine.set_backend("backend", [("127.0.0.1", port)])
        with pytest.raises(ConnectionError, match="no connection"):
            await fetch(r)
        r.engine.set_backend("backend", [])
        with pytest.raises(ConnectionError, match="no endpoint"):
            await fetch(r)


async def test_whoever_gives_up_frees_the_connection() -> None:
    async with rig(late) as r:
        waiting = asyncio.ensure_future(fetch(r))
        await until(lambda: bool(r.endpoint.requests))
        waiting.cancel()
        await until(lambda: r.endpoint.open == 0)
        await r.quiet()


@pytest.mark.parametrize(
    ("method", "target", "fields"),
    [
        ("GET", "/ x", [("Host", "x")]),
        ("GET", "/", []),
        ("GET", "/", [("Host", "x"), ("A", "b\r\nC: d")]),
        ("GET", "/", [("Host", "x"), ("A\nB", "b")]),
        ("GET", "/", [("Host", "x"), ("", "b")]),
        ("GET /a HTTP/1.1\r\nX:", "/", [("Host", "x")]),
        ("CONNECT", "x:1", [("Host", "x")]),
    ],
)
async def test_what_is_no_request(method: str, target: str, fields: list[tuple[str, str]]) -> None:
    async with rig() as r:
        with pytest.raises(ValueError, match=r"no request|line break"):
            r.engine.fetch("backend", method, target, fields=fields)
        with pytest.raises(ValueError, match="unknown"):
            r.engine.fetch("nobody", "GET", "/", fields=[("Host", "x")])
        assert r.engine.stats()["exchanges"] == 0


async def test_an_engine_that_closes_gives_up() -> None:
    endpoint = Endpoint(late)
    await endpoint.start()
    engine = Engine(Settings(), asyncio.get_running_loop())
    engine.set_backend("backend", [endpoint.address])
    waiting = engine.fetch("backend", "GET", "/", fields=[("Host", "x")])
    await until(lambda: bool(endpoint.requests))
    engine.close()
    with pytest.raises(ConnectionError, match="given up"):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        engine.fetch("backend", "GET", "/", fields=[("Host", "x")])
    assert endpoint.server is not None
    endpoint.server.close()
