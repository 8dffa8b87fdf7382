"""The generator against servers whose behaviour is known. Planted delays are in test_truth.py."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bench.load.arrivals import parse_profile
from bench.load.run import Plan, run
from bench.load.scenario import BadScenario, Expect, Request, Scenario

Answer = Callable[[int, bytes], Awaitable[bytes]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Pod: a\r\n\r\nok"


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Serves `await answer(number, head)`, numbered over all connections; b"" closes the connection."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                served += 1
                told = await answer(served, head)
                writer.write(told)
                if not told:
                    break
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def plan(rate: str | None = None, seconds: float = 1.0, **more: Any) -> Plan:
    pieces = parse_profile(rate, seconds) if rate else ()
    return Plan(duration_seconds=seconds, connections=more.pop("connections", 20), pieces=pieces, **more)


async def ok(number: int, head: bytes) -> bytes:
    return OK


async def test_open_loop_sends_what_was_asked_for() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target, answered_by="X-Pod"), plan("500"))
    assert result["requests"] == result["asked"]["requests"] == 500
    assert result["errors"] == {}
    assert result["answered_by"] == {"a": 500}


async def test_poisson_arrivals_come_at_their_rate() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target), plan("600", poisson=True, seed=7))
    assert result["requests"] == pytest.approx(600, abs=100)  # four standard deviations


async def test_a_ramp_sends_its_area() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target), plan("0..800"))
    assert result["requests"] == pytest.approx(400, rel=0.1)


async def test_closed_loop_uses_every_connection_and_several_processes() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target), plan(seconds=0.5, connections=8, processes=2))
    assert result["requests"] > 100
    assert result["reached"]["connects"] == 8
    assert result["errors"] == {}


async def test_new_connections() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target, keep_alive=False), plan("100", seconds=0.5))
    assert result["requests"] == result["reached"]["connects"] == 50


async def closes(number: int, head: bytes) -> bytes:
    return b""


async def babbles(number: int, head: bytes) -> bytes:
    return b"SSH-2.0-OpenSSH\r\n\r\n"


async def never(number: int, head: bytes) -> bytes:
    await asyncio.sleep(30)
    return OK


async def refuses(number: int, head: bytes) -> bytes:
    return OK.replace(b"200 OK", b"503 No")


@pytest.mark.parametrize(
    ("answer", "kind"), [(closes, "closed_early"), (babbles, "protocol"), (never, "timeout"), (refuses, "status")]
)
async def test_errors_are_told_by_kind(answer: Answer, kind: str) -> None:
    async with server(answer) as target:
        result = await run(Scenario(target=target), plan("40", seconds=0.5, timeout_seconds=0.3))
    assert set(result["errors"]) == {kind}
    assert result["errors"][kind] == 20


async def test_a_refused_connection_is_an_error_not_a_spin() -> None:
    async with server(ok) as target:
        pass
    result = await run(Scenario(target=target), plan(seconds=0.3, connections=2))
    assert set(result["errors"]) == {"connect"}
    assert result["errors"]["connect"] < 100


async def test_refused_connections_in_the_open_loop_are_counted_one_by_one() -> None:
    async with server(ok) as target:
        pass
    result = await run(Scenario(target=target), plan("2000", seconds=0.3, connections=2))
    assert (result["requests"], result["errors"]) == (0, {"connect": 600})


async def test_think_time_is_kept() -> None:
    async with server(ok) as target:
        result = await run(Scenario(target=target), plan(seconds=1, connections=4, think_seconds=0.1))
    assert 20 < result["requests"] <= 44  # at most one each 100 ms and connection, and the first
    assert result["errors"] == {}


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK


@pytest.mark.parametrize("told", [OK, CHUNKED, INTERIM], ids=["length", "chunked", "interim"])
@pytest.mark.parametrize("step", [1, 7, 10_000], ids="cut={}".format)
async def test_answers_in_pieces(told: bytes, step: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for start in range(0, len(told), step):
                    writer.write(told[start : start + step])
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        target = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        result = await run(Scenario(target=target), plan("40", seconds=0.5, connections=2))
    assert (result["statuses"], result["errors"]) == ({"200": 20}, {})
    assert result["errors"] == {}
    assert result["reached"]["connects"] <= 2  # kept alive: where one answer ends was always known


@pytest.mark.parametrize("cut", [1, 1000])
async def test_checks_do_not_see_interim_answers(cut: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                for start in range(0, len(INTERIM), cut):
                    writer.write(INTERIM[start : start + cut])
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()

    expect = Expect(status=200, body="ok", header={"X-Pod": "a"})
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        target = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        scenario = Scenario(target=target, requests=(Request(expect=expect),), answered_by="X-Pod")
        result = await run(scenario, plan("40", seconds=0.5, connections=2))
    assert (result["requests"], result["errors"], result["answered_by"]) == (20, {}, {"a": 20})


async def test_the_mix_follows_the_weights() -> None:
    paths: dict[bytes, int] = {}

    async def count(number: int, head: bytes) -> bytes:
        path = head.split(b" ")[1]
        paths[path] = paths.get(path, 0) + 1
        return OK

    async with server(count) as target:
        requests = (Request(path="/often", weight=9), Request(path="/seldom"))
        await run(Scenario(target=target, requests=requests), plan("1000"))
    assert paths[b"/often"] == pytest.approx(900, abs=50)


async def test_a_stranger_is_never_connected_to() -> None:
    with pytest.raises(BadScenario, match="allow"):
        await run(Scenario(target="http://192.0.2.1/"), plan("1"))
