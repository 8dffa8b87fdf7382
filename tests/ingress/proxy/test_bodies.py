"""Body size limit, request buffering (in memory and in a file), response buffering."""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

import pytest

from ingress.proxy import BackendSpec, RouteOptions, RouteSpec, Settings
from tests.ingress.proxy.rig import NOTHING, Request, Rig, echo, held, read_response, request, rig, until


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return coded + (b"0\r\n\r\n" if end else b"")


CHUNKED = ("Transfer-Encoding: chunked", "Connection: close")


async def ready(r: Rig) -> None:
    """Nothing is left but pooled connections."""
    await r.empty()
    assert held(r) | {"upstreams": 0} == NOTHING


# -- limit


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
@pytest.mark.parametrize("limit", [1, 1000, 1 << 20])
async def test_a_body_that_is_too_long_does_not_reach_the_endpoint(limit: int, buffering: bool) -> None:
    settings = Settings(body_limit_bytes=limit, request_buffering=buffering)
    async with rig(settings=settings) as r:
        just = bytes(limit)
        assert (await r.ask(request("/", "Connection: close", method="POST", body=just))).startswith(b"HTTP/1.1 200")
        assert (await r.ask(request("/", *CHUNKED, method="POST") + chunked(just))).startswith(b"HTTP/1.1 200")
        assert len(r.endpoint.requests) == 2
        head = request("/", f"Content-Length: {limit + 1}", method="POST")
        assert (await r.ask(head)).startswith(b"HTTP/1.1 413 Content Too Large")  # without one octet of it
        waits = request("/", f"Content-Length: {limit + 1}", "Expect: 100-continue", method="POST")
        assert (await r.ask(waits)).startswith(b"HTTP/1.1 413")
        assert (await r.ask(request("/", *CHUNKED, method="POST") + b"%x\r\n" % (limit + 1))).startswith(
            b"HTTP/1.1 413"
        )
        assert len(r.endpoint.requests) == 2
        await ready(r)


async def test_a_chunked_body_that_grows_too_long() -> None:
    async with rig(settings=Settings(body_limit_bytes=1000)) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Transfer-Encoding: chunked", method="POST") + chunked(bytes(600), end=False))
        await until(lambda: len(r.endpoint.requests) == 1)
        writer.write(chunked(bytes(401), end=False))
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 413")
        await until(lambda: r.endpoint.open == 0)
        writer.close()
        await ready(r)


async def test_a_body_that_came_whole_leaves_the_connection_open() -> None:
    async with rig(settings=Settings(body_limit_bytes=3)) as r:
        reader, writer = await r.connect()
        writer.write(request("/", method="POST", body=b"four") + request("/next"))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 413")
        assert (await read_response(reader))[1] == b"GET /next|"
        writer.close()


async def test_a_route_has_a_limit_of_its_own() -> None:
    async with rig(settings=Settings(body_limit_bytes=10)) as r:
        routes = [
            RouteSpec("/", False, "backend", 1),
            RouteSpec("/more", False, "backend", 2, options=RouteOptions(body_limit_bytes=20)),
            RouteSpec("/any", False, "backend", 3, options=RouteOptions(body_limit_bytes=0)),
        ]
        r.engine.set_host("", routes)
        for path, length, status in [
            ("/", 10, 200), ("/", 11, 413), ("/more", 20, 200), ("/more", 21, 413), ("/any", 9999, 200),
        ]:  # fmt: skip
            got = await r.ask(request(path, "Connection: close", method="POST", body=bytes(length)))
            assert got.startswith(b"HTTP/1.1 %d" % status), (path, length)


# -- request buffering

BUFFERED = Settings(request_buffering=True, request_buffer_bytes=5000, eject_after_failures=0)


async def test_the_endpoint_is_asked_once_the_body_is_whole() -> None:
    for buffering in (True, False):
        async with rig(settings=Settings(request_buffering=buffering)) as r:
            reader, writer = await r.connect()
            writer.write(request("/", "Content-Length: 6", method="POST") + b"abc")
            if buffering:
                await until(lambda: r.engine.stats()["exchanges"] == 1)
                assert r.endpoint.accepted == 0
            else:
                await until(lambda: len(r.endpoint.requests) == 1)
            writer.write(b"def" + request("/next"))
            assert (await read_response(reader))[1] == b"POST /|abcdef"
            assert (await read_response(reader))[1] == b"GET /next|"
            writer.close()
            await ready(r)


@pytest.mark.parametrize("size", [0, 1, 4999, 5000, 5001, 70000, 3_000_000])
@pytest.mark.parametrize("how", ["length", "chunked", "chunks of 1", "slowly"])
async def test_every_octet_arrives(size: int, how: str) -> None:
    body = (b"%08d" % 12345678) * (size // 8) + b"x" * (size % 8)
    if how == "chunks of 1" and size > 70000:
        body = body[:70000]
    pieces = [body[i : i + 777] for i in range(0, len(body), 777)]
    if how == "chunks of 1":
        pieces = [body[i : i + 1] for i in range(min(3000, len(body)))] + ([body[3000:]] if len(body) > 3000 else [])
    if how in ("length", "slowly"):
        octets = request("/", f"Content-Length: {len(body)}", method="PUT") + body
    else:
        octets = request("/", "Transfer-Encoding: chunked", method="PUT") + chunked(*pieces)
    async with rig(settings=BUFFERED) as r:
        reader, writer = await r.connect()
        step = len(octets) // 5 + 1 if how == "slowly" else len(octets)
        for i in range(0, len(octets), step):
            writer.write(octets[i : i + step])
            await asyncio.sleep(0.01)
        writer.write(request("/next"))  # right behind it
        _, got = await read_response(reader)
        assert got == b"PUT /|" + body
        assert (await read_response(reader))[1] == b"GET /next|"
        sent = r.endpoint.requests[0]
        assert sent.get("content-length") == str(len(body))
        assert sent.get("transfer-encoding") is None
        assert r.event("spooled") == (1 if len(body) > 70000 else r.event("spooled"))
        writer.close()
        await ready(r)


async def test_the_client_is_asked_for_its_body_here() -> None:
    async with rig(settings=BUFFERED) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Expect: 100-continue", "Content-Length: 4", method="PUT"))
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert r.endpoint.accepted == 0
        writer.write(b"body")
        assert (await read_response(reader))[1] == b"PUT /|body"
        assert r.endpoint.requests[0].get("expect") is None
        writer.close()


async def test_a_buffered_body_is_sent_again() -> None:
    """From memory and from the file, after an endpoint that has read all of it."""

    async def unwell(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.body(reader)
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")

    async def leaves(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    async with rig(unwell, leaves, echo, settings=BUFFERED) as r:
        spec = BackendSpec(retry_on=("error", "http_503"))
        r.engine.set_backend("backend", [endpoint.address for endpoint in r.endpoints], spec)
        for size in (10, 400_000, 2_000_000):
            body = os.urandom(size)
            for _ in range(3):
                reader, writer = await r.connect()
                writer.write(request("/", f"Content-Length: {size}", method="PUT") + body)
                head, got = await read_response(reader)
                assert head.startswith(b"HTTP/1.1 200")
                assert hashlib.sha256(got).digest() == hashlib.sha256(b"PUT /|" + body).digest()
                writer.close()
        await ready(r)


async def test_a_client_that_leaves_while_its_body_is_gathered() -> None:
    async with rig(settings=BUFFERED) as r:
        for size in (10, 200_000):
            _, writer = await r.connect()
            writer.write(request("/", f"Content-Length: {size + 1}", method="PUT") + bytes(size))
            await until(lambda: r.engine.stats()["exchanges"] == 1)
            writer.close()
            await ready(r)
        assert r.endpoint.accepted == 0


async def test_a_client_that_stalls() -> None:
    async with rig(settings=Settings(request_buffering=True, client_body_seconds=0.3)) as r:
        got = await r.ask(request("/", "Content-Length: 10", method="PUT") + b"abc")
        assert got.startswith(b"HTTP/1.1 408")
        assert r.endpoint.accepted == 0


@pytest.mark.parametrize("framing", ["bad chunk", "short"])
async def test_wrong_framing_while_it_is_gathered(framing: str) -> None:
    async with rig(settings=BUFFERED) as r:
        if framing == "bad chunk":
            octets = request("/", *CHUNKED, method="PUT") + chunked(bytes(9000), end=False)
            reader, writer = await r.connect()
            writer.write(octets)
            await until(lambda: r.engine.stats()["exchanges"] == 1)
            writer.write(b"zz\r\n")
            async with asyncio.timeout(10):
                assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()
        else:
            assert await r.ask(request("/", "Content-Length: 10", method="PUT") + b"abc", half_close=True) == b""
        assert r.endpoint.accepted == 0
        await ready(r)


async def test_no_file_to_be_had(tmp_path: Path) -> None:
    settings = Settings(request_buffering=True, request_buffer_bytes=10, spool_folder=str(tmp_path / "missing"))
    asyncio.get_running_loop().set_exception_handler(lambda loop, found: told.append(found))
    told: list[object] = []
    async with rig(settings=settings) as r:
        got = await r.ask(request("/", "Content-Length: 1000", "Connection: close", method="PUT") + bytes(1000))
        assert got.startswith((b"HTTP/1.1 500", b"HTTP/1.1 200"))
        got = await r.ask(request("/", *CHUNKED, method="PUT") + chunked(bytes(1000)))
        assert got.startswith(b"HTTP/1.1 500")
        assert told
        await ready(r)


async def test_large_bodies_lie_in_a_file_and_leave_nothing_behind() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(request_buffering=True, request_buffer_bytes=1 << 16, spool_folder=folder)
        async with rig(settings=settings) as r:
            files = len(os.listdir("/proc/self/fd"))
            reader, writer = await r.connect()
            writer.write(request("/", f"Content-Length: {64 << 20}", method="PUT"))
            for _ in range(63):
                writer.write(bytes(1 << 20))
                await writer.drain()
            assert r.event("spooled") == 1
            assert os.listdir(folder) == []
            writer.write(bytes(1 << 20))
            async with asyncio.timeout(30):
                await reader.readexactly(64 << 20)
            writer.close()
            await ready(r)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= files + 2)  # the pooled connection, both ends


# -- response buffering


@pytest.mark.parametrize(("buffering", "room"), [(True, 16 << 20), (True, 1 << 20), (False, 16 << 20)])
async def test_a_slow_reader_holds_up_its_endpoint_or_not(buffering: bool, room: int) -> None:
    size = 12 << 20
    sent = asyncio.Event()

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            writer.write(bytes(1 << 16))
            await writer.drain()
        sent.set()

    async with rig(script, settings=Settings(response_buffering=buffering, response_buffer_bytes=room)) as r:
        reader, writer = await r.connect()
        transport = writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request("/", "Connection: close"))
        # How much the kernel's own buffers take is not ours to say: only room for all of it lets the endpoint finish.
        if buffering and room > size:
            async with asyncio.timeout(10):
                await sent.wait()
            await until(lambda: r.engine.stats()["exchanges"] == 0)
        transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            got = await reader.read()
        assert len(got) > size
        assert got.endswith(bytes(1000))
        writer.close()
        await ready(r)


async def test_what_is_streamed_arrives_as_it_is_sent() -> None:
    go = asyncio.Event()

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"first", end=False))
        await go.wait()
        writer.write(chunked(b"second"))

    for buffering in (True, False):  # memory is for slow clients: a quick one does not wait for it to fill
        go.clear()
        async with rig(script, settings=Settings(response_buffering=buffering)) as r:
            reader, writer = await r.connect()
            writer.write(request("/"))
            async with asyncio.timeout(10):
                await reader.readuntil(b"first\r\n")
                go.set()
                await reader.readuntil(b"second\r\n0\r\n\r\n")
            writer.close()
