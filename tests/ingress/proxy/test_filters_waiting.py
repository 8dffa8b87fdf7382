"""Requests whose filters take their time: what their clients may do meanwhile, and how it goes on."""

import asyncio
import contextlib
import random
import socket

import pytest

from ingress.filters.api import Reply, Request
from ingress.proxy import RouteOptions, Settings
from tests.ingress.proxy.filtered import Verdict, chain, route, status, values
from tests.ingress.proxy.rig import NOTHING, Rig, held, read_response, request, rig, until


class Gate:
    """A filter's hook that waits until it is let on; `found` is what it says then."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Request, asyncio.Future[Reply | None]]] = []
        self.cancelled = 0

    def __call__(self, asked: Request) -> Verdict:
        return self.wait(asked) if asked.path != "/pass" else None

    async def wait(self, asked: Request) -> Reply | None:
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((asked, future))
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def arrived(self, count: int = 1) -> None:
        await until(lambda: len(self.waiting) >= count)

    def open(self, found: Reply | None = None) -> None:
        self.waiting.pop(0)[1].set_result(found)


async def gone(r: Rig) -> None:
    await r.empty()
    assert held(r) | {"upstreams": 0} == NOTHING


async def test_it_goes_on_or_is_answered_and_the_connection_stays() -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        for found in (None, Reply(403), None, Reply(200, (), b"ours"), None):
            writer.write(request("/a"))
            await gate.arrived()
            assert r.endpoint.open == (1 if r.endpoint.requests else 0)
            gate.open(found)
            head, body = await read_response(reader)
            assert status(head) == (found.status if found else 200)
            assert values(head, "connection") == []
            assert found is not None or body == b"GET /a|"
        assert len(r.endpoint.requests) == 3
        writer.close()
        await gone(r)


@pytest.mark.parametrize("coded", [True, False], ids=["chunked", "length"])
@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
async def test_a_body_in_pieces_before_and_after(coded: bool, buffering: bool) -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate), RouteOptions(request_buffering=buffering))
        fields = ("Transfer-Encoding: chunked",) if coded else ("Content-Length: 5",)
        body = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" if coded else b"hello"
        octets = request("/", *fields, method="POST") + body + request("/pass")
        first = octets.index(b"\r\n\r\n") + 4
        reader, writer = await r.connect()
        for cut in range(first, len(octets) + 1):
            writer.write(octets[:cut])
            await gate.arrived()
            assert r.engine.stats()["exchanges"] == 1
            if cut % 2:
                writer.write(octets[cut:])
                await asyncio.sleep(0)
                gate.open()
            else:
                gate.open()
                writer.write(octets[cut:])
            assert (await read_response(reader))[1] == b"POST /|hello"
            assert (await read_response(reader))[1] == b"GET /pass|"
        writer.close()
        await gone(r)


async def test_pipelined_requests_wait_in_order() -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        writer.write(request("/1") + request("/pass") + request("/2") + request("/3") + request("/plain"))
        for number in (1, 2, 3):
            await gate.arrived()
            assert len(gate.waiting) == 1
            assert gate.waiting[0][0].path == f"/{number}"
            gate.open(Reply(409) if number == 2 else None)
            head, body = await read_response(reader)
            assert (status(head), body[:6]) == ((409, b"<html>") if number == 2 else (200, b"GET /%d" % number))
            if number == 1:
                assert (await read_response(reader))[1] == b"GET /pass|"
        assert (await read_response(reader))[1] == b"GET /plain|"
        writer.close()
        await gone(r)


async def test_no_more_is_read_than_the_pipeline_may_hold() -> None:
    gate = Gate()
    size = 8 << 20
    async with rig(settings=Settings(pipeline_limit_bytes=65536)) as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(request("/", f"Content-Length: {size}", method="POST"))
        await gate.arrived()
        writer.write(bytes(size))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()  # never: the engine and the kernel hold less
                pytest.fail("all of it was read")
        gate.open()
        _, body = await read_response(reader)
        assert len(body) == len(b"POST /|") + size
        writer.close()
        await gone(r)


@pytest.mark.parametrize("how", ["reset", "fin", "fin in a body", "reset in a body"])
async def test_a_client_that_goes_away(how: str) -> None:
    gate = Gate()
    ended: list[int] = []
    async with rig(settings=Settings(half_close_probe_seconds=0.3)) as r:
        route(r, chain(gate, finish=lambda asked, status: ended.append(status)))
        with socket.create_connection(("127.0.0.1", r.port)) as client:
            fields = ("Content-Length: 9",) if "body" in how else ()
            client.sendall(request("/", *fields, method="POST") + (b"some" if "body" in how else b""))
            await gate.arrived()
            if how.startswith("reset"):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: ended == [499])
        await until(lambda: gate.cancelled == 1)
        await gone(r)
        assert r.endpoint.requests == []


async def test_a_client_that_has_only_closed_its_half() -> None:
    gate = Gate()
    async with rig(settings=Settings(half_close_probe_seconds=0.3)) as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        writer.write(request("/", method="POST", body=b"whole"))
        writer.write_eof()
        await gate.arrived()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        gate.open()
        head, body = await read_response(reader)
        assert body == b"POST /|whole"
        assert values(head, "connection") == ["close"]
        writer.close()
        await gone(r)


async def test_time_outs_of_the_client_do_not_run() -> None:
    gate = Gate()
    settings = Settings(client_head_seconds=0.3, client_body_seconds=0.3, client_idle_seconds=0.3)
    async with rig(settings=settings) as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 3", method="POST"))
        await gate.arrived()
        await asyncio.sleep(1.2)
        gate.open()
        writer.write(b"abc")
        assert (await read_response(reader))[1] == b"POST /|abc"
        writer.close()
        await gone(r)


async def test_draining_waits_for_it() -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        asks = [asyncio.create_task(r.ask(request("/"))) for _ in range(3)]
        await gate.arrived(3)
        r.engine.stop_accepting()
        await asyncio.sleep(0)
        assert r.engine.connections == 3
        for found in (None, Reply(403), None):
            gate.open(found)
        answers = await asyncio.gather(*asks)
        assert sorted(status(each) for each in answers) == [200, 200, 403]
        assert all(values(each, "connection") == ["close"] for each in answers)
        await gone(r)


async def test_routes_that_change_meanwhile() -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        ask = asyncio.create_task(r.get("/"))
        await gate.arrived()
        r.engine.remove_host("")
        r.engine.set_backend("backend", [])
        gate.open()
        assert status(await ask) == 503
        await gone(r)


async def test_an_engine_that_is_closed_meanwhile() -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        _, writer = await r.connect()
        writer.write(request("/"))
        await gate.arrived()
        asked, future = gate.waiting[0]
    await until(lambda: gate.cancelled == 1)
    assert asked.path == "/"
    assert future.cancelled()
    writer.close()


async def test_a_filter_that_does_not_mind_being_cancelled() -> None:
    late: list[str] = []

    async def stubborn(asked: Request) -> Reply | None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            late.append(asked.path)
            asked.set("X", "1")
            asked.add_response("X", "1")
        return None

    async with rig() as r:
        route(r, chain(stubborn))
        _, writer = await r.connect()
        writer.write(request("/late"))
        await until(lambda: r.engine.stats()["exchanges"] == 1)
        writer.transport.abort()
        await until(lambda: late == ["/late"])
        await gone(r)


@pytest.mark.parametrize(
    "octets", [b"GET /%d HTTP/1.0\r\n\r\n", b"HEAD /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
)
async def test_a_hundred_at_once(octets: bytes) -> None:
    gate = Gate()
    async with rig() as r:
        route(r, chain(gate))
        asks = [asyncio.create_task(r.ask(octets % number)) for number in range(100)]
        await gate.arrived(100)
        random.Random(7).shuffle(gate.waiting)
        while gate.waiting:
            gate.open(Reply(403) if int(gate.waiting[0][0].path[1:]) % 3 == 0 else None)
        answers = await asyncio.gather(*asks)
        assert [status(each) for each in answers] == [200 if number % 3 else 403 for number in range(100)]
        if octets.startswith(b"GET"):
            assert all(each.endswith(b"GET /%d|" % number) for number, each in enumerate(answers) if number % 3)
        else:
            assert all(each.endswith(b"\r\n\r\n") for each in answers)
        await gone(r)


async def test_a_head_cut_at_every_octet() -> None:
    gate = Gate()
    octets = request("/x", "X-Some: thing", method="POST", body=b"abc")
    async with rig() as r:
        route(r, chain(gate))
        reader, writer = await r.connect()
        for cut in range(1, len(octets)):
            writer.write(octets[:cut])
            await asyncio.sleep(0.001)
            writer.write(octets[cut:])
            await gate.arrived()
            assert gate.waiting[0][0].field("x-some") == "thing"
            gate.open()
            assert (await read_response(reader))[1] == b"POST /x|abc"
        writer.close()
        await gone(r)
