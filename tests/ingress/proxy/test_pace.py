"""Responses at a limited rate: the average holds, nobody else waits, nothing is lost."""

import asyncio
import hashlib
import time

import pytest

from ingress.proxy import RouteOptions, RouteSpec, Settings
from tests.ingress.proxy import rig as rigs
from tests.ingress.proxy.filtered import status
from tests.ingress.proxy.rig import Rig, read_response, request, rig


async def sized(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As many octets as its path says; without a length for /N/close."""
    _, size, *rest = got.path.split("/")
    length = b"" if rest == ["close"] else b"Content-Length: %s\r\n" % size.encode()
    writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + content(int(size)))
    if rest == ["close"]:
        writer.close()


def content(size: int) -> bytes:
    return (hashlib.sha512(b"x").digest() * (size // 64 + 1))[:size]


def limit(r: Rig, rate: int, after: int = 0, **more: bool) -> None:
    options = RouteOptions(rate_bytes_per_second=rate, rate_after_bytes=after, **more)
    r.engine.set_host("", [RouteSpec("/", False, "backend", 1, (), options), RouteSpec("/64", False, "backend", 2)])


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
@pytest.mark.parametrize(
    ("size", "rate", "after"), [(200_000, 200_000, 0), (300, 300, 0), (1_000_000, 500_000, 600_000)]
)
async def test_the_average_holds(size: int, rate: int, after: int, buffering: bool) -> None:
    async with rig(sized) as r:
        limit(r, rate, after, response_buffering=buffering)
        begun = time.monotonic()
        got = await r.get(f"/{size}")
        took = time.monotonic() - begun
        assert got.partition(b"\r\n\r\n")[2] == content(size)
        assert took > 0.8 * (size - after) / rate - 0.15
        await r.empty()


async def test_without_a_length_and_over_keep_alive() -> None:
    async with rig(sized) as r:
        limit(r, 100_000)
        begun = time.monotonic()
        got = await r.get("/40000/close")
        assert got.endswith(content(40000))
        assert time.monotonic() - begun > 0.2
        reader, writer = await r.connect()
        writer.write(request("/30000") + request("/64/x") + request("/20000"))
        for size in (30000, 64, 20000):
            head, body = await read_response(reader)
            assert status(head) == 200
            assert body == content(size)
        writer.close()
        await r.empty()


async def test_others_do_not_wait() -> None:
    async with rig(sized) as r:
        limit(r, 300)
        slow = [asyncio.create_task(r.get("/20000")) for _ in range(20)]
        await rigs.until(lambda: len(r.endpoint.requests) == 20)
        for _ in range(20):
            assert (await r.get("/64")).endswith(content(64))
        assert not any(each.done() for each in slow)
        for each in slow:
            each.cancel()
        limit(r, 10_000)
        for got in await asyncio.gather(*[r.get("/5000") for _ in range(20)]):
            assert got.endswith(content(5000))


async def test_a_slow_rate_is_no_slow_client() -> None:
    settings = Settings(client_send_seconds=0.3, client_idle_seconds=0.3, upstream_read_seconds=0.3)
    async with rig(sized, settings=settings) as r:
        limit(r, 100)
        assert (await r.get("/150")).endswith(content(150))
        await r.empty()


async def test_clients_that_go_and_an_engine_that_is_closed() -> None:
    async with rig(sized) as r:
        limit(r, 1000)
        writers = []
        for _ in range(10):
            reader, writer = await r.connect()
            writer.write(request("/100000"))
            await reader.readuntil(b"\r\n\r\n")
            writers.append(writer)
        for writer in writers[:5]:
            writer.transport.abort()
        await rigs.until(lambda: r.engine.connections == 5)
    for writer in writers:
        writer.close()
