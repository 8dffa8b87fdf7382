"""What is counted of requests: by route, status, method and alternative, with histograms; what connections do."""

import asyncio

import pytest

from ingress.filters.api import Request as Filtered
from ingress.proxy import RouteSpec, Settings
from ingress.proxy.counted import LENGTH_BUCKETS, METHODS, SIZE_BUCKETS, TIME_BUCKETS, Counted
from tests.ingress.proxy.rig import Request, Rig, echo, read_response, request, rig, until
from tests.ingress.proxy.test_filters import chain, route


async def the_row(r: Rig, *octets: bytes) -> Counted:
    """The only row there is after these requests."""
    for each in octets:
        reader, writer = await r.connect()
        writer.write(each)
        await read_response(reader)
        writer.close()
    await r.empty()
    (row,) = r.counted
    return row


async def test_a_request_and_its_octets() -> None:
    asked = request("/", method="POST", body=b"12345")
    async with rig() as r:
        row = await the_row(r, asked, asked)
        assert (row.route, row.status, row.method, row.alternative, row.requests) == (1, 200, "POST", "", 2)
        assert row.octets_in == 2 * len(asked)
        assert row.octets_out > 2 * len("HTTP/1.1 200 OK")
        assert [sum(each) for each in row.buckets] == [2] * 7
        assert [len(each) - 1 for each in row.buckets] == [len(TIME_BUCKETS)] * 4 + [len(LENGTH_BUCKETS)] * 2 + [
            len(SIZE_BUCKETS)
        ]
        assert row.buckets.response_size[2] == 2  # more than 100 octets and not more than 1000
        assert list(r.engine.take_requests()) == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get"])
async def test_methods(method: str) -> None:
    async with rig() as r:
        await r.ask(request("/", "Connection: close", method=method))
        await r.empty()
        assert [row.method for row in r.counted] == [method if method in METHODS else "OTHER"]


async def test_what_was_refused_has_no_method() -> None:
    async with rig() as r:
        await r.ask(b"NONSENSE\r\n\r\n")
        await r.ask(request("/..", "Connection: close"))  # understood, but no path of ours
        await r.empty()
        assert {(row.route, row.status, row.method) for row in r.counted} == {(-1, 400, ""), (-1, 400, "GET")}
        assert not any(sum(row.buckets.connect) for row in r.counted)


async def test_durations() -> None:
    async def slow(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
        await asyncio.sleep(0.03)
        writer.write(b"b")

    async with rig(slow, settings=Settings(time_buckets=(0.02, 0.05, 5))) as r:
        row = await the_row(r, request())
        assert row.buckets[:4] == ((0, 0, 1, 0), (0, 0, 1, 0), row.buckets.header, (1, 0, 0, 0))
        assert row.buckets.header[0] == 0
        assert row.seconds.request >= row.seconds.response >= row.seconds.header + 0.02 > 0.04
        assert 0 <= row.seconds.connect < 0.02
        assert len(row.buckets.request_length) == len(LENGTH_BUCKETS) + 1


async def test_bounds_belong_to_the_bucket_below() -> None:
    asked = request("/")
    settings = Settings(length_buckets=(len(asked) - 1, len(asked)), size_buckets=(1, 2))
    async with rig(settings=settings) as r:
        row = await the_row(r, asked)
        assert row.buckets.request_length == (0, 1, 0)
        assert row.buckets.response_size == (0, 0, 1)


@pytest.mark.parametrize("bounds", [(), (0.0,), (2.0, 1.0), (1.0, 1.0), (1e12,), tuple(map(float, range(1, 30)))])
def test_bounds_that_are_none(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="time_buckets"):
        Settings(time_buckets=bounds)


async def test_alternatives() -> None:
    def choose(asked: Filtered) -> None:
        asked.alternative = asked.path[1:]

    async with rig(echo) as r:
        route(r, chain(choose))
        for path in ("/", "/shop/a:80", "/shop/b:80", "/shop/a:80"):
            await r.ask(request(path, "Connection: close"))
        await r.empty()
        assert {row.alternative: row.requests for row in r.counted} == {"": 1, "shop/a:80": 2, "shop/b:80": 1}


async def test_many_rows_and_none_once_they_are_taken() -> None:
    async with rig() as r:
        r.engine.set_host("", [RouteSpec(f"/{i}", False, "nobody", i) for i in range(500)])
        every = [(i, method) for i in range(500) for method in ("GET", "PUT")]
        errands = [r.engine.ask(request(f"/{i}", method=method)) for i, method in every]
        assert all(errand.ended.done() for errand in errands)
        taken = list(r.engine.take_requests())
        assert sorted((row.route, row.method) for row in taken) == every
        assert {row.status for row in taken} == {503}
        assert {row.requests for row in taken} == {1}
        await r.get("/7")
        await r.empty()
        assert r.answered == {(7, 503): 1}


async def test_what_connections_do() -> None:
    go = asyncio.Event()

    async def late(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await echo(got, reader, writer)

    def states(r: Rig) -> tuple[int, int, int]:
        stats = r.engine.stats()
        return stats["reading"], stats["writing"], stats["waiting"]

    async with rig(late) as r:
        ends = [await r.connect() for _ in range(3)]
        await until(lambda: states(r) == (0, 0, 3))
        ends[0][1].write(b"GET / HT")
        ends[1][1].write(request())
        await until(lambda: states(r) == (1, 1, 1))
        go.set()
        await read_response(ends[1][0])
        await until(lambda: states(r) == (1, 0, 2))
        for _, writer in ends:
            writer.close()
