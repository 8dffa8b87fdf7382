"""Responses that filters replace by what another backend says."""

import asyncio

import pytest

from ingress.filters.api import Elsewhere, Reply, Request, Response
from ingress.proxy import BackendSpec, RouteOptions, Settings
from tests.ingress.proxy import rig as rigs
from tests.ingress.proxy.filtered import chain, route, status, values
from tests.ingress.proxy.rig import Rig, echo, read_response, request, rig

PAGE = b"sorry"


async def failing(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says the status its path begins with; with a long body for /NNN/long."""
    await got.body(reader)
    _, code, *rest = got.path.split("/")
    size = 1 << 20 if rest == ["long"] else 3
    writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nX-First: 1\r\n\r\n" % (int(code), size))
    if not got.line.startswith(b"HEAD"):
        writer.write(bytes(size))


async def page(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await got.body(reader) == b""
    writer.write(b"HTTP/1.1 202 Page\r\nContent-Length: %d\r\nX-Second: 1\r\n\r\n" % len(PAGE))
    if not got.line.startswith(b"HEAD"):
        writer.write(PAGE)


def instead(code: int = 0) -> object:
    def response(asked: Request, got: Response) -> Elsewhere | None:
        asked.add_response("X-Seen", str(got.status))
        if got.status < 400:
            return None
        fields = (("X-Code", str(got.status)), ("X-Original-URI", asked.target), ("Accept-Language", "la"))
        return Elsewhere("pages", f"/page?{got.status}", fields, code)

    return response


def split(r: Rig) -> None:
    r.engine.set_backend("backend", [r.endpoints[0].address])
    r.engine.set_backend("pages", [r.endpoints[1].address])


@pytest.mark.parametrize("code", [0, 404, 503])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_another_backend_answers(method: str, code: int) -> None:
    async with rig(failing, page) as r:
        split(r)
        route(r, chain(response=instead(code)))
        reader, writer = await r.connect()
        for path in ("/404", "/503", "/404/long", "/500"):
            body = b"some body" if method == "POST" else b""
            fields = ("Accept-Language: de", "If-None-Match: x", "Range: bytes=0-1", "Cookie: a=1")
            writer.write(request(path, *fields, method=method, body=body))
            if method == "HEAD":
                head, got = await reader.readuntil(b"\r\n\r\n"), b""
            else:
                head, got = await read_response(reader)
                assert got == PAGE
            assert status(head) == (code or 202)
            assert values(head, "x-second") == ["1"]
            assert values(head, "x-first") == []
            assert values(head, "x-seen") == [path[1:4]]
            second = r.endpoints[1].requests[-1]
            assert second.line == b"%s /page?%s HTTP/1.1" % (
                b"HEAD" if method == "HEAD" else b"GET",
                path[1:4].encode(),
            )
            assert second.get("x-code") == path[1:4]
            assert second.get("x-original-uri") == path
            assert second.get("accept-language") == "la"
            assert second.get("if-none-match") is None
            assert second.get("range") is None
            assert second.get("content-length") is None
            assert second.get("host") == "shop.example"
            assert second.get("x-forwarded-for") == "127.0.0.1"
            assert second.get("x-request-id") == r.endpoints[0].requests[-1].get("x-request-id")
        writer.write(request("/200"))
        assert status((await read_response(reader))[0]) == 200
        writer.close()
        await r.quiet()
        assert r.endpoints[1].accepted == 1  # its connection is kept
        assert r.endpoints[0].accepted <= 2  # and so is one whose response had come whole


async def test_for_want_of_an_endpoint_and_for_replies() -> None:
    async with rig(failing, page) as r:
        split(r)
        r.engine.set_backend("backend", [])
        route(r, chain(lambda asked: Reply(418) if asked.path == "/tea" else None, instead()))
        for path, seen in (("/", "503"), ("/tea", "418")):
            head = await r.get(path)
            assert status(head) == 202
            assert values(head, "x-seen") == [seen]
            assert head.endswith(PAGE)
        r.engine.set_backend("backend", [("127.0.0.1", 1)])
        assert status(await r.get("/")) == 202
        await r.empty()


async def test_that_backend_fails_as_well() -> None:
    async with rig(failing, failing) as r:
        split(r)
        route(r, chain(response=instead()))
        r.engine.set_backend("pages", [])
        head = await r.get("/404")
        assert status(head) == 503
        assert values(head, "x-seen") == ["404"]  # the hook is not asked again
        r.engine.set_backend("pages", [("127.0.0.1", 1)])
        assert status(await r.get("/404")) == 502
        r.engine.remove_backend("pages")
        assert status(await r.get("/404")) == 503
        await r.empty()


async def test_what_makes_no_sense_is_500() -> None:
    def wrong(asked: Request, got: Response) -> Elsewhere | None:
        if asked.path == "/404/target":
            return Elsewhere("pages", "no path")
        if asked.path == "/404/field":
            return Elsewhere("pages", "/", (("X", "a\nb"),))
        return Elsewhere("nobody", "/")

    asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
    async with rig(failing, page) as r:
        split(r)
        route(r, chain(response=wrong))
        assert status(await r.get("/404/target")) == 500
        assert status(await r.get("/404/field")) == 500
        assert status(await r.get("/404/nobody")) == 503
        await r.empty()


async def test_before_the_body_has_come() -> None:
    async def refusing(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    async with rig(refusing, page) as r:
        split(r)
        route(r, chain(response=instead()))
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 1000", method="POST") + bytes(10))
        head, body = await read_response(reader)
        assert body == PAGE
        assert values(head, "connection") == ["close"]
        writer.close()
        await r.empty()


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
async def test_a_body_that_grows_too_long(buffering: bool) -> None:
    async with rig(echo, page, settings=Settings(body_limit_bytes=10)) as r:
        split(r)
        route(r, chain(response=instead()), RouteOptions(request_buffering=buffering))
        got = await r.ask(request("/", "Transfer-Encoding: chunked", method="POST") + b"b\r\n")
        assert status(got) == 202
        assert values(got, "x-seen") == ["413"]
        await r.empty()


async def test_retries_there() -> None:
    async def slam(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with rig(failing, slam, page) as r:
        split(r)
        pages = [r.endpoints[1].address, r.endpoints[2].address]
        r.engine.set_backend("pages", pages, BackendSpec(algorithm="ring", hash_by="uri"))
        route(r, chain(response=instead()))
        for _ in range(4):
            assert status(await r.get("/404")) == 202
        await r.empty()


async def test_with_compression() -> None:
    async def long(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 X\r\nContent-Type: text/plain\r\nContent-Length: 5000\r\n\r\n" + 5000 * b"x")

    async with rig(long, long) as r:
        split(r)
        route(r, chain(response=instead(403)), RouteOptions(compress=True))
        head = await r.get("/", "Accept-Encoding: gzip")
        assert status(head) == 403
        assert values(head, "content-encoding") == ["gzip"]
        assert values(head, "vary") == ["Accept-Encoding"]
        r.engine.set_backend("pages", [])
        head = await r.get("/", "Accept-Encoding: gzip")
        assert status(head) == 503
        assert values(head, "content-encoding") == []
        await r.empty()
