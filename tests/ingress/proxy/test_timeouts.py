"""Time-outs of clients and endpoints, and the rate below which a client uses them up."""

import asyncio
import contextlib
import socket

from ingress.proxy import Settings
from tests.ingress.proxy.rig import NOTHING, flood, hang, held, request, rig, until

QUICK = Settings(
    client_head_seconds=0.6,
    client_body_seconds=0.6,
    client_idle_seconds=0.6,
    client_send_seconds=0.6,
    lingering_seconds=0.6,
    half_close_probe_seconds=0.3,
    connect_seconds=0.6,
    upstream_read_seconds=0.6,
    upstream_idle_seconds=0.6,
)


async def test_read_time_out() -> None:
    async with rig(hang, settings=QUICK) as r:
        assert (await r.ask(request("/", "Connection: close", method="POST"))).startswith(b"HTTP/1.1 504")
        await r.empty()
        assert held(r) == NOTHING
        assert r.event("upstream_timeouts") == 1


async def test_connect_time_out() -> None:
    with socket.socket() as full:  # a listener whose queue is full answers no SYN
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            async with rig(settings=QUICK) as r:
                r.engine.set_backend("backend", [full.getsockname()])
                assert (await r.get()).startswith(b"HTTP/1.1 504")
                r.engine.set_backend("backend", [full.getsockname(), r.endpoint.address])
                assert (await r.get()).startswith(b"HTTP/1.1 200")
                await r.empty()


async def test_client_time_outs() -> None:
    async with rig(settings=QUICK) as r:
        assert await r.ask(b"") == b""  # never says anything
        assert (await r.ask(b"GET / HTTP/1.1\r\nHo")).startswith(b"HTTP/1.1 408")
        assert (await r.ask(request("/", "Content-Length: 5", method="POST") + b"12")).startswith(b"HTTP/1.1 408")
        assert (await r.ask(request("/"))).endswith(b"GET /|")  # idle afterwards
        await r.empty()
        await until(lambda: held(r) == NOTHING)  # the pooled connection too


async def test_a_trickled_head_is_not_given_more_time() -> None:
    async with rig(settings=QUICK) as r:
        reader, writer = await r.connect()
        began = asyncio.get_running_loop().time()
        answer = asyncio.create_task(reader.read())
        while not answer.done() and asyncio.get_running_loop().time() - began < 5:
            if not writer.is_closing():
                writer.write(b"X")
            await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            assert (await answer).startswith(b"HTTP/1.1 408")
        assert asyncio.get_running_loop().time() - began < 3
        writer.close()


async def test_a_client_that_stops_reading_is_given_up() -> None:
    async with rig(flood, settings=QUICK) as r:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", r.port))
            client.sendall(request("/50"))
            await until(lambda: r.engine.stats()["exchanges"] == 1)
            await r.empty()
        assert held(r) == NOTHING
        assert r.event("client_timeouts") == 1


SLOW = Settings(client_body_seconds=0.6, client_send_seconds=0.6, client_octets_per_second=20000)


async def test_a_body_slower_than_the_rate_is_given_up() -> None:
    async with rig(settings=SLOW) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 1000000", method="POST"))
        answer = asyncio.create_task(reader.read())
        began = asyncio.get_running_loop().time()
        while not answer.done() and asyncio.get_running_loop().time() - began < 10:
            if not writer.is_closing():
                writer.write(b"x" * 100)  # 2,000 a second, and never 0.6 s without one
            await asyncio.sleep(0.05)
        with contextlib.suppress(ConnectionResetError):
            assert (await answer).startswith(b"HTTP/1.1 408")
        assert asyncio.get_running_loop().time() - began < 5
        writer.close()
        await r.empty()


async def test_a_body_faster_than_the_rate_takes_its_time() -> None:
    async with rig(settings=SLOW) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 100000", "Connection: close", method="POST"))
        for _ in range(50):
            writer.write(b"x" * 2000)
            await asyncio.sleep(0.04)
        assert (await reader.read()).endswith(b"x" * 100000)
        writer.close()


async def test_a_reader_slower_than_the_rate_is_given_up() -> None:
    async with rig(flood, settings=SLOW) as r:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", r.port))
            client.sendall(request("/50"))
            client.setblocking(False)
            await until(lambda: r.engine.stats()["exchanges"] == 1)
            began = asyncio.get_running_loop().time()
            while r.engine.connections and asyncio.get_running_loop().time() - began < 10:
                with contextlib.suppress(ConnectionError, BlockingIOError):
                    client.recv(50)  # 1,000 a second
                await asyncio.sleep(0.05)
            assert asyncio.get_running_loop().time() - began < 8
        assert held(r)["exchanges"] == 0
