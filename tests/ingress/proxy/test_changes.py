"""What changes while requests are under way: endpoints, hosts, draining, the end."""

import asyncio
import contextlib

from tests.ingress.proxy.rig import NOTHING, Request, echo, hang, held, read_response, request, rig, until


async def test_endpoints_come_and_go_under_load() -> None:
    async with rig(echo, echo, echo) as r:
        addresses = [endpoint.address for endpoint in r.endpoints]
        failed: list[bytes] = []
        done = asyncio.Event()

        async def load() -> None:
            reader, writer = await r.connect()
            while not done.is_set():
                writer.write(request("/", method="POST", body=b"x"))
                head, _ = await read_response(reader)
                if not head.startswith(b"HTTP/1.1 200"):
                    failed.append(head)
            writer.close()

        loads = [asyncio.create_task(load()) for _ in range(8)]
        for i in range(200):
            r.engine.set_backend("backend", addresses[i % 3 : i % 3 + 1 + i % 2])
            r.engine.set_host("other", [])
            await asyncio.sleep(0.002)
        done.set()
        await asyncio.gather(*loads)
        assert failed == []
        await r.empty()


async def test_a_backend_keeps_requests_under_way_and_closes_idle_connections() -> None:
    go = asyncio.Event()

    async def wait(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if got.path == "/slow":
            await go.wait()
        await echo(got, reader, writer)

    async with rig(wait) as r:
        slow = asyncio.create_task(r.get("/slow"))
        await until(lambda: len(r.endpoint.requests) == 1)
        await r.get("/quick")
        assert r.endpoint.open == 2
        r.engine.set_backend("backend", [])
        await until(lambda: r.endpoint.open == 1)
        go.set()
        assert (await slow).endswith(b"GET /slow|")
        await until(lambda: held(r) == NOTHING)
        assert not list(r.engine.seen_endpoints())


async def test_draining() -> None:
    go = asyncio.Event()

    async def wait(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await echo(got, reader, writer)

    async with rig(wait) as r:
        reader, writer = await r.connect()
        writer.write(request("/slow"))
        await until(lambda: len(r.endpoint.requests) == 1)
        r.engine.stop_accepting()
        go.set()
        got = await reader.read()
        assert b"Connection: close\r\n" in got
        assert got.endswith(b"GET /slow|")
        await r.empty()
        assert r.engine.stats()["draining"]
        writer.close()


async def test_draining_under_load_loses_no_request() -> None:
    async with rig() as r:
        told: list[bool] = []

        async def busy() -> None:
            reader, writer = await r.connect()
            while True:
                writer.write(request("/"))
                head, body = await read_response(reader)
                assert body == b"GET /|"
                if b"Connection: close\r\n" in head:
                    told.append(True)
                    writer.close()
                    return

        async def idle() -> None:
            reader, writer = await r.connect()
            assert await reader.read() == b""
            writer.close()

        clients = [asyncio.create_task(one()) for one in [busy] * 20 + [idle] * 3]
        await until(lambda: r.engine.connections == 23)
        await asyncio.sleep(0.1)
        r.engine.stop_accepting()
        await asyncio.gather(*clients)
        assert len(told) == 20
        await r.empty()


async def test_closing_in_the_middle_of_everything() -> None:
    async with rig(hang) as r:
        pairs = [await r.connect() for _ in range(10)]
        for i, (_, writer) in enumerate(pairs):
            writer.write(request("/") if i % 2 else b"GET / HT")
        await until(lambda: len(r.endpoint.requests) == 5)
        r.engine.close()
        r.engine.close()
        assert held(r) == NOTHING
        for reader, writer in pairs:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
