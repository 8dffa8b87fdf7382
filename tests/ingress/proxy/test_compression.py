"""Compression of responses: which ones, for whom, how they are told; that every octet survives it."""

import asyncio
import os
import zlib

import brotli
import pytest
import zstandard

from ingress.proxy import RouteOptions, RouteSpec, Settings
from tests.ingress.proxy.rig import NOTHING, Request, Rig, Script, held, read_response, request, rig

ON = Settings(compress=True)
TEXT = b"".join(b"line %d of a text that repeats itself\n" % i for i in range(200))


def answers(body: bytes = TEXT, *fields: str, status: int = 200, framing: str = "length") -> Script:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", *(fields or ("Content-Type: text/plain",))]
        if framing == "length":
            lines.append(f"Content-Length: {len(body)}")
        elif framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        if got.line.startswith(b"HEAD"):
            return
        for i in range(0, len(body), 100_000):
            piece = body[i : i + 100_000]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if framing == "chunked" else piece)
            await writer.drain()
        if framing == "chunked":
            writer.write(b"0\r\n\r\n")
        elif framing == "close":
            writer.close()

    return script


def decoded(coding: str | None, body: bytes) -> bytes:
    if coding is None:
        return body
    if coding == "gzip":
        return zlib.decompress(body, wbits=31)
    if coding == "br":
        return bytes(brotli.decompress(body))
    # The stream does not say how long it is; a decompressor object goes on to its end.
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


async def ask(r: Rig, *fields: str, method: str = "GET", path: str = "/") -> tuple[Request, bytes]:
    reader, writer = await r.connect()
    writer.write(request(path, *fields, method=method))
    async with asyncio.timeout(20):
        head = Request(await reader.readuntil(b"\r\n\r\n"), 0)
        body = b"" if method == "HEAD" else await head.body(reader)
    writer.close()
    return head, body


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("size", [256, 7000, 5_000_000])
async def test_every_octet_survives(coding: str, framing: str, size: int) -> None:
    body = ((TEXT * (size // len(TEXT) + 1)) if size != 5_000_000 else os.urandom(1 << 20) + TEXT * 600)[:size]
    async with rig(answers(body, framing=framing), settings=ON) as r:
        head, got = await ask(r, f"Accept-Encoding: {coding}")
        assert head.get("content-encoding") == coding
        assert head.get("content-length") is None
        assert head.get("transfer-encoding") == "chunked"
        assert head.get("vary") == "Accept-Encoding"
        assert decoded(coding, got) == body
        if size == 7000:
            assert len(got) < 2000
        await r.empty()
        assert held(r) | {"upstreams": 0} == NOTHING


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("deflate", None),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip;q=1, br;q=0.5", "gzip"),
        ("gzip;q=0.8, br; q=0.81, zstd;q=0.805", "br"),
        ("br;q=0, gzip;q=0.001", "gzip"),
        ("br;q=0, gzip;q=0.000, zstd;q=0", None),
        ("*;q=0.5, br;q=0", "zstd"),
        ("gzip;q=0.5, identity;q=1", None),
        ("gzip;q=0, *", "br"),
    ],
)
async def test_what_the_client_takes(accepts: str | None, coding: str | None) -> None:
    async with rig(answers(), settings=ON) as r:
        head, got = await ask(r, *([] if accepts is None else [f"Accept-Encoding: {accepts}"]))
        assert head.get("content-encoding") == coding
        assert head.get("vary") == "Accept-Encoding"  # also for those who get it plain
        assert decoded(coding, got) == TEXT


async def test_our_order_and_our_codings() -> None:
    async with rig(answers(), settings=Settings(compress=True, compressions=("gzip", "br"))) as r:
        for accepts, coding in [("br, gzip, zstd", "gzip"), ("br, zstd", "br"), ("zstd", None)]:
            assert (await ask(r, f"Accept-Encoding: {accepts}"))[0].get("content-encoding") == coding


@pytest.mark.parametrize(("least", "length", "packed"), [(256, 255, 0), (256, 256, 1), (100, 99, 0), (100, 100, 1)])
async def test_short_ones_stay_as_they_are(least: int, length: int, packed: bool) -> None:
    async with rig(answers(TEXT[:length]), settings=Settings(compress=True, compress_least_bytes=least)) as r:
        head, got = await ask(r, "Accept-Encoding: gzip")
        assert (head.get("content-encoding") == "gzip") == packed
        assert decoded(head.get("content-encoding"), got) == TEXT[:length]


@pytest.mark.parametrize(
    ("fields", "status", "packed"),
    [
        (["Content-Type: text/html; charset=utf-8"], 200, True),
        (["Content-Type: APPLICATION/JSON"], 404, True),
        (["content-type: image/svg+xml"], 403, True),
        (["Content-Type: image/png"], 200, False),
        (["Content-Type: text/plainly"], 200, False),
        (["X: y"], 200, False),  # no type at all
        (["Content-Type: text/plain"], 500, False),
        (["Content-Type: text/plain"], 206, False),
        (["Content-Type: text/plain", "Content-Encoding: gzip"], 200, False),
        (["Content-Type: text/plain", "Content-Encoding: br"], 200, False),
        (["Content-Type: text/plain", "Cache-Control: private, No-Transform"], 200, False),
        (["Content-Type: text/plain", "Cache-Control: no-transformer"], 200, True),
    ],
)
async def test_which_responses(fields: list[str], status: int, packed: bool) -> None:
    async with rig(answers(TEXT, *fields, status=status), settings=ON) as r:
        head, got = await ask(r, "Accept-Encoding: gzip")
        if packed:
            assert head.get("content-encoding") == "gzip"
            assert decoded("gzip", got) == TEXT
        else:
            assert got == TEXT
            assert head.get("content-length") == str(len(TEXT))
            assert head.get("vary") is None


async def test_what_is_told() -> None:
    fields = ("Content-Type: text/css", 'ETag: "abc"', "Accept-Ranges: bytes", "Vary: Origin", "X: y")
    async with rig(answers(TEXT, *fields), settings=ON) as r:
        head, _ = await ask(r, "Accept-Encoding: gzip")
        assert head.get("etag") == 'W/"abc"'
        assert head.get("accept-ranges") is None
        assert head.get("vary") == "Origin, Accept-Encoding"
        assert head.get("x") == "y"
        plain, _ = await ask(r)
        assert plain.get("etag") == '"abc"'
        assert plain.get("accept-ranges") == "bytes"
    async with rig(answers(TEXT, "Content-Type: text/css", 'ETag: W/"abc"', "Vary: accept-encoding"), settings=ON) as r:
        head, _ = await ask(r, "Accept-Encoding: br")
        assert head.get("etag") == 'W/"abc"'
        assert head.get("vary") == "accept-encoding"


async def test_head_204_304_and_http_1_0() -> None:
    async with rig(answers(), settings=ON) as r:
        head, _ = await ask(r, "Accept-Encoding: gzip", method="HEAD")
        assert head.get("content-encoding") is None
        assert head.get("content-length") == str(len(TEXT))
        got = await r.ask(b"GET / HTTP/1.0\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        assert got.endswith(b"\r\n\r\n" + TEXT)
    for status in (204, 304):
        async with rig(answers(b"", "Content-Type: text/plain", status=status), settings=ON) as r:
            got = await r.ask(request("/", "Accept-Encoding: gzip", "Connection: close"))
            assert b"ncoding" not in got
            assert got.endswith(b"\r\n\r\n")


async def test_old_browsers() -> None:
    async with rig(answers(), settings=ON) as r:
        for agent, packed in [
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.0)", False),
            ("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", True),
            ("Mozilla/5.0 (compatible; MSIE 9.0)", True),
        ]:
            head, _ = await ask(r, "Accept-Encoding: gzip", f"User-Agent: {agent}")
            assert (head.get("content-encoding") == "gzip") == packed


async def test_only_routes_that_ask_for_it() -> None:
    async with rig(answers()) as r:
        r.engine.set_host(
            "",
            [
                RouteSpec("/", False, "backend", 1),
                RouteSpec("/packed", False, "backend", 2, options=RouteOptions(compress=True)),
            ],
        )
        head, got = await ask(r, "Accept-Encoding: gzip")
        assert (head.get("content-encoding"), head.get("vary"), got) == (None, None, TEXT)
        head, _ = await ask(r, "Accept-Encoding: gzip", path="/packed/a")
        assert head.get("content-encoding") == "gzip"


async def test_a_stream_goes_on_bit_by_bit() -> None:
    go = asyncio.Event()

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async with rig(script, settings=ON) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Accept-Encoding: gzip"))
        unpack = zlib.decompressobj(wbits=31)
        async with asyncio.timeout(10):
            await reader.readuntil(b"\r\n\r\n")
            size = int(await reader.readuntil(b"\r\n"), 16)
            assert unpack.decompress(await reader.readexactly(size)) == b"first"
            go.set()
            rest = (await reader.readuntil(b"0\r\n\r\n")).removeprefix(b"\r\n")
        assert b"\r\n" in rest
        writer.close()


async def test_an_endpoint_that_breaks_off() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with rig(script, settings=ON) as r:
        got = await r.ask(request("/", "Accept-Encoding: gzip"))
        assert not got.endswith(b"0\r\n\r\n")  # the client sees that it is not whole
        await r.empty()
        assert held(r) == NOTHING


async def test_a_client_that_leaves() -> None:
    async with rig(answers(os.urandom(1 << 20) * 50), settings=ON) as r:
        for coding in ("gzip", "br", "zstd"):
            reader, writer = await r.connect()
            writer.write(request("/", f"Accept-Encoding: {coding}"))
            await reader.readexactly(200_000)
            writer.close()
        await r.empty()
        assert held(r) == NOTHING


async def test_keep_alive_goes_on() -> None:
    for framing in ("length", "chunked", "close"):
        async with rig(answers(framing=framing), settings=ON) as r:
            reader, writer = await r.connect()
            for _ in range(3):
                writer.write(request("/", "Accept-Encoding: gzip"))
                _, body = await read_response(reader)
                assert decoded("gzip", body) == TEXT
            assert r.endpoint.accepted == (3 if framing == "close" else 1)
            writer.close()
