"""Filters that see, refuse and change bodies, both ways."""

import asyncio
import gzip

import pytest

from ingress.filters.api import Elsewhere, Reply, Request, Response
from ingress.proxy import RouteOptions, RouteSpec, Settings
from tests.ingress.proxy import rig as rigs
from tests.ingress.proxy.filtered import chain, route, status, values
from tests.ingress.proxy.rig import Rig, echo, read_response, request, rig
from tests.ingress.proxy.test_bodies import chunked


def censor(asked: Request, body: bytes) -> Reply | bytes | None:
    if b"forbidden" in body:
        return Reply(422, (("Content-Type", "text/plain"),), b"no")
    return body.replace(b"bad", b"better") if b"bad" in body else None


# -- requests


@pytest.mark.parametrize("memory", [0, 100, 1 << 20])
@pytest.mark.parametrize("coded", [True, False], ids=["chunked", "length"])
async def test_a_request_body_is_seen_whole(coded: bool, memory: int) -> None:
    async with rig(settings=Settings(request_buffer_bytes=memory)) as r:
        route(r, chain(request_body=censor))
        reader, writer = await r.connect()
        for body in (b"fine", b"a bad one", b"bad" + 300_000 * b"x", 300_000 * b"y", b"forbidden"):
            pieces = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
            if coded:
                octets = request("/", "Transfer-Encoding: chunked", method="POST") + chunked(*pieces)
            else:
                octets = request("/", method="POST", body=body)
            for cut in (len(octets), len(octets) - 3, octets.index(b"\r\n\r\n") + 4, octets.index(b"\r\n\r\n") + 6):
                writer.write(octets[:cut])
                if cut < len(octets):
                    await asyncio.sleep(0.01)
                writer.write(octets[cut:])
                head, got = await read_response(reader)
                if body == b"forbidden":
                    assert (status(head), got) == (422, b"no")
                else:
                    assert got == b"POST /|" + body.replace(b"bad", b"better")
                    last = r.endpoint.requests[-1]
                    assert last.get("content-length") == str(len(got) - len(b"POST /|"))
                    assert last.get("transfer-encoding") is None
        writer.write(request("/none"))
        assert (await read_response(reader))[1] == b"GET /none|"
        writer.close()
        await r.empty()


async def test_the_sender_is_asked_for_it_and_limits_hold() -> None:
    async with rig(settings=Settings(body_limit_bytes=10)) as r:
        route(r, chain(request_body=censor))
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 3", "Expect: 100-continue", method="POST"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(b"bad")
        assert (await read_response(reader))[1] == b"POST /|better"
        writer.write(request("/", method="POST", body=bytes(11)))
        assert status((await read_response(reader))[0]) == 413
        writer.close()


async def test_it_can_be_sent_again() -> None:
    async def slam(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.body(reader)
        writer.close()

    async with rig(slam, echo) as r:
        route(r, chain(request_body=censor))
        for _ in range(4):
            got = await r.ask(request("/", "Connection: close", method="PUT", body=b"bad"))
            assert got.endswith(b"PUT /|better")


async def test_hooks_of_bodies_that_are_broken() -> None:
    def broken(asked: Request, *given: object) -> bytes:
        raise RuntimeError("broken")

    asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
    async with rig() as r:
        route(r, chain(request_body=broken))
        assert status(await r.ask(request("/", "Connection: close", method="POST", body=b"x"))) == 500
        route(r, chain(response_body=broken))
        async with asyncio.timeout(5):
            assert b"0\r\n\r\n" not in await r.get("/")
        await r.empty()


# -- responses


async def sized(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """In the way its path says: length, chunked, close, empty; 200 kB of it."""
    body = b"some octets " * 20_000
    await got.body(reader)
    kind = got.path[1:]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nETag: x\r\n"
    if kind == "length":
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if got.line.startswith(b"HEAD") else body))
    elif kind == "chunked":
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body[:3], body[3:100_000], body[100_000:]))
    elif kind == "empty":
        writer.write(head + b"Content-Length: 0\r\n\r\n")
    elif kind == "none":
        writer.write(b"HTTP/1.1 204 No\r\n\r\n")
    else:
        writer.write(head + b"\r\n" + body)
        writer.close()


class Upper:
    """Letters upper, and a word more at the end."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bool]] = []

    def __call__(self, asked: Request, octets: bytes, last: bool) -> bytes:
        self.pieces.append((len(octets), last))
        return octets.upper() + (b"END" if last else b"")


EXPECTED = b"SOME OCTETS " * 20_000 + b"END"


@pytest.mark.parametrize("compress", [True, False], ids=["compressed", "plain"])
@pytest.mark.parametrize("kind", ["length", "chunked", "close"])
async def test_a_response_body_is_changed(kind: str, compress: bool) -> None:
    async with rig(sized) as r:
        upper = Upper()
        route(r, chain(response_body=upper), RouteOptions(compress=compress))
        reader, writer = await r.connect()
        for _ in range(3):
            upper.pieces.clear()
            writer.write(request("/" + kind, "Accept-Encoding: gzip"))
            head, body = await read_response(reader)
            assert values(head, "transfer-encoding") == ["chunked"]
            assert values(head, "content-length") == []
            assert values(head, "connection") == []
            assert (gzip.decompress(body) if compress else body) == EXPECTED
            assert sum(n for n, _ in upper.pieces) == len(EXPECTED) - 3
            assert [last for _, last in upper.pieces] == [False] * (len(upper.pieces) - 1) + [True]
        writer.close()
        old = await r.ask(b"GET /%s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % kind.encode())
        assert old.endswith(b"\r\n\r\n" + EXPECTED)
        assert values(old, "connection") == ["close"]
        await r.empty()


async def test_responses_without_a_body() -> None:
    upper = Upper()
    async with rig(sized) as r:
        route(r, chain(response_body=upper))
        reader, writer = await r.connect()
        writer.write(request("/empty"))
        head, _ = await read_response(reader)
        assert values(head, "content-length") == ["0"]
        for octets in (request("/none"), request("/length", method="HEAD")):
            writer.write(octets)
            head = await reader.readuntil(b"\r\n\r\n")
            assert values(head, "transfer-encoding") == []
        writer.write(request("/length"))
        assert (await read_response(reader))[1] == EXPECTED
        writer.close()
        assert upper.pieces[-1][1]


async def test_a_response_from_elsewhere_is_changed_too() -> None:
    def response(asked: Request, got: Response) -> Elsewhere:
        return Elsewhere("backend", "/length")

    async with rig(sized) as r:
        route(r, chain(response=response, response_body=Upper()))
        assert b"END\r\n0\r\n\r\n" in await r.get("/empty")
        await r.empty()


async def test_a_body_that_is_swallowed() -> None:
    async with rig(sized) as r:
        route(r, chain(response_body=lambda asked, octets, last: b""))
        reader, writer = await r.connect()
        for kind in ("length", "chunked"):
            writer.write(request("/" + kind))
            assert (await read_response(reader))[1] == b""
        writer.close()


async def test_a_slow_reader_of_what_grows() -> None:
    def grow(asked: Request, octets: bytes, last: bool) -> bytes:
        return octets * 10

    async with rig(rigs.flood) as r:
        route(r, chain(response_body=grow), RouteOptions(rate_bytes_per_second=0))
        got = await r.get("/3")
        assert len(got) > 30 << 20
        await r.empty()


async def test_with_a_limited_rate() -> None:
    async with rig(sized) as r:
        options = RouteOptions(rate_bytes_per_second=1_000_000)
        r.engine.set_host("", [RouteSpec("/", False, "backend", 1, (), options, chain(response_body=Upper()))])
        assert await plain(r) == EXPECTED


async def plain(r: Rig) -> bytes:
    reader, writer = await r.connect()
    writer.write(request("/length"))
    _, body = await read_response(reader)
    writer.close()
    return body
