"""What endpoints, clients and the machine do wrong: retries, time-outs, aborts, limits; and that nothing leaks."""

import asyncio
import contextlib
import os
import resource
import socket
import struct

import pytest

from ingress.proxy import Settings
from tests.ingress.proxy.rig import NOTHING, Request, echo, flood, hang, held, read_response, request, rig, until


async def slam(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def close_after_answer(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An endpoint with a very short keep-alive time, which it does not announce."""
    await echo(got, reader, writer)
    await writer.drain()
    writer.close()


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_is_tried_elsewhere(method: str) -> None:
    async with rig() as r:
        dead = [("127.0.0.1", unused_port()), ("127.0.0.1", unused_port())]
        r.engine.set_backend("backend", [*dead, r.endpoint.address])
        for _ in range(20):
            assert (await r.ask(request("/", "Connection: close", method=method))).startswith(b"HTTP/1.1 200")
        assert r.event("connect_failures") > 0
        r.engine.set_backend("backend", dead)
        assert b"502 Bad Gateway" in await r.ask(request("/", "Connection: close", method=method))
        await r.empty()


async def test_an_endpoint_that_closes_at_once_is_a_bad_gateway_and_get_tries_another() -> None:
    async with rig(slam, echo) as r:
        for _ in range(10):
            assert (await r.get()).startswith(b"HTTP/1.1 200")
        r.engine.set_backend("backend", [r.endpoints[0].address])
        assert (await r.get()).startswith(b"HTTP/1.1 502")
        seen = len(r.endpoints[0].requests)
        assert (await r.ask(request("/", "Connection: close", method="POST", body=b"once"))).startswith(b"HTTP/1.1 502")
        assert len(r.endpoints[0].requests) == seen + 1  # sent, so never sent again
        await r.empty()
        assert held(r) == NOTHING


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_stale_connection_is_not_noticed_by_the_client(method: str) -> None:
    async with rig(close_after_answer) as r:
        reader, writer = await r.connect()
        for i in range(50):
            writer.write(request(f"/{i}", method=method, body=b"b" if method == "POST" else b""))
            head, _ = await read_response(reader)
            assert head.startswith(b"HTTP/1.1 200"), (i, head)
        writer.close()
        await r.empty()


async def test_an_endpoint_restart_with_many_pooled_connections() -> None:
    async with rig() as r:
        await asyncio.gather(*(r.get() for _ in range(30)))
        assert r.endpoint.open > 3
        await r.endpoint.restart()
        assert all(got.startswith(b"HTTP/1.1 200") for got in await asyncio.gather(*(r.get() for _ in range(30))))


async def test_nothing_is_retried_after_response_octets() -> None:
    async def half(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with rig(half) as r:
        got = await r.get()
        assert got.endswith(b"\r\n\r\nhalf")
        assert len(r.endpoint.requests) == 1
        await r.empty()
        assert held(r) == NOTHING


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
        b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 300 + b"\r\n",
    ],
    ids=["nonsense", "two lengths", "bad chunk", "long head", "many fields"],
)
async def test_a_response_that_is_not_http_is_a_bad_gateway(answer: bytes) -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()

    async with rig(script) as r:
        assert (await r.get()).startswith(b"HTTP/1.1 502")
        await r.empty()
        assert held(r) == NOTHING
        assert len(r.endpoint.requests) == 1


async def test_more_than_the_announced_length_is_cut_and_the_connection_not_reused() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    async with rig(script) as r:
        got = await r.ask(request("/") + request("/", "Connection: close"))
        assert got.count(b"\r\n\r\nok") == 2
        assert b"evil" not in got
        assert r.endpoint.accepted == 2


@pytest.mark.parametrize("with_reset", [True, False], ids=["reset", "fin"])
async def test_a_client_that_leaves_before_the_answer(with_reset: bool) -> None:
    async with rig(hang, settings=Settings(half_close_probe_seconds=0.2)) as r:
        _, writer = await r.connect()
        writer.write(request("/"))
        await until(lambda: len(r.endpoint.requests) == 1)
        reset(writer) if with_reset else writer.close()
        await r.empty()
        assert held(r) == NOTHING
        assert r.answered[1, 499] == 1
        await until(lambda: r.endpoint.open == 0)


async def test_a_client_that_leaves_in_the_middle_of_its_body() -> None:
    async with rig() as r:
        _, writer = await r.connect()
        writer.write(request("/", "Content-Length: 100", method="POST") + b"half")
        await until(lambda: len(r.endpoint.requests) == 1)
        writer.close()
        await r.empty()
        assert held(r) == NOTHING


async def test_a_client_that_leaves_in_the_middle_of_the_answer() -> None:
    async with rig(flood) as r:
        reader, writer = await r.connect()
        writer.write(request("/500"))
        await reader.readexactly(5 << 20)
        writer.close()
        await r.empty()
        assert held(r) == NOTHING
        await until(lambda: r.endpoint.open == 0)


def resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def test_slow_readers_hold_back_their_endpoints() -> None:
    """Twenty answers of 50 MB to clients that read little: what is held is bounded, and every octet arrives."""
    sent = 0

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (50 << 20))
        block = bytes(65536)
        for _ in range(800):
            writer.write(block)
            await writer.drain()
            sent += len(block)

    async with rig(script) as r:
        before = resident_bytes()
        pairs = [await r.connect() for _ in range(20)]
        for reader, writer in pairs:
            reader._limit = 65536  # type: ignore[attr-defined]
            writer.write(request("/"))
        while True:
            had = sent
            await asyncio.sleep(0.3)
            if sent == had and sent:
                break
        assert sent < 20 * (50 << 20) * 3 // 4
        assert resident_bytes() - before < 60 << 20
        for reader, writer in pairs[:2]:
            await reader.readuntil(b"\r\n\r\n")
            left = 50 << 20
            while left:
                got = await reader.read(1 << 20)
                assert got
                left -= len(got)
            writer.close()
        for _, writer in pairs[2:]:
            writer.close()
        await r.empty()


async def test_little_is_held_of_clients_that_pipeline_ahead() -> None:
    """Half a megabyte each, behind a request that is not answered: what is kept is not all of it."""

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (hang if got.path == "/hang" else echo)(got, reader, writer)

    async with rig(script) as r:
        reader, writer = await r.connect()
        ahead = []
        before = resident_bytes()
        for _ in range(60):
            ahead.append(socket.create_connection(("127.0.0.1", r.port)))
            ahead[-1].setblocking(False)
            ahead[-1].send(request("/hang") + request("/more") * 12000)
            for _ in range(3):
                writer.write(request("/beside"))
                assert (await read_response(reader))[1] == b"GET /beside|"
        assert resident_bytes() - before < 15 << 20
        for each in ahead:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            each.close()
        writer.close()
        await r.empty()


async def test_an_upload_waits_for_a_slow_endpoint() -> None:
    go = asyncio.Event()

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        left = int(got.get("content-length") or 0)
        while left:
            left -= len(await reader.read(1 << 20))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with rig(script) as r:
        reader, writer = await r.connect()
        writer.transport.set_write_buffer_limits(65536)
        writer.write(request("/", f"Content-Length: {100 << 20}", "Connection: close", method="POST"))
        before = resident_bytes()
        taken = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(1600):
                writer.write(bytes(65536))
                await asyncio.wait_for(writer.drain(), 0.5)
                taken += 65536
        assert taken < 50 << 20
        assert resident_bytes() - before < 60 << 20
        go.set()
        for _ in range(1600 - taken // 65536 - 1):
            writer.write(bytes(65536))
            await writer.drain()
        assert (await reader.read()).endswith(b"ok")
        writer.close()


async def test_out_of_descriptors_it_keeps_serving() -> None:
    told: list[str] = []
    async with rig() as r:
        r.engine.on_trouble = told.append
        reader, writer = await r.connect()
        writer.write(request("/before"))
        await read_response(reader)
        spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        try:
            os.close(spare.pop())
            late = socket.socket()  # takes the last descriptor
            late.setblocking(False)
            late.connect_ex(("127.0.0.1", r.port))
            await until(lambda: r.event("accept_pauses") > 0)
            assert told == ["no descriptors are left for more than 1 clients: others wait (ulimit -n)"]
            for i in range(20):
                writer.write(request(f"/{i}"))
                assert (await read_response(reader))[1] == b"GET /%d|" % i
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)
        late.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(late, request("/late", "Connection: close"))
        assert b"GET /late|" in await loop.sock_recv(late, 65536)  # it was in the kernel's queue all the time
        late.close()
        writer.close()
