"""What is tried again, how often, for how long, and where; the time-outs of a backend."""

import asyncio
import socket
import time
from itertools import pairwise

import pytest

from ingress.proxy import BackendSpec, Settings
from tests.ingress.proxy.rig import Request, Rig, Script, echo, hang, read_response, request, rig, until

PATIENT = Settings(eject_after_failures=0)


def use(r: Rig, spec: BackendSpec) -> None:
    r.engine.set_backend("backend", [endpoint.address for endpoint in r.endpoints], spec)


def asked(r: Rig) -> list[int]:
    return sorted(len(endpoint.requests) for endpoint in r.endpoints)


def answers(status: int) -> Script:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.body(reader)
        writer.write(b"HTTP/1.1 %d Whatever\r\nContent-Length: 4\r\n\r\nbody" % status)

    return script


async def slam(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def nonsense(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example ESMTP\r\n\r\n")


STATUSES = (500, 502, 503, 504, 403, 404, 429)
FAILURES: list[tuple[str, Script, int]] = [
    ("error", slam, 502),
    ("timeout", hang, 504),
    ("invalid_header", nonsense, 502),
    *[(f"http_{status}", answers(status), status) for status in STATUSES],
]


@pytest.mark.parametrize(("token", "script", "status"), FAILURES, ids=[token for token, _, _ in FAILURES])
@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
async def test_each_token(token: str, script: Script, status: int, listed: bool) -> None:
    others = tuple(other for other, _, _ in FAILURES if other != token)
    async with rig(script, script, script, script, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=(token,) if listed else others, read_seconds=0.3))
        got = await r.get()
        assert got.startswith(b"HTTP/1.1 %d" % status)
        assert asked(r) == ([0, 1, 1, 1] if listed else [0, 0, 0, 1])
        if token.startswith("http"):
            assert got.endswith(b"\r\n\r\nbody")  # the last attempt's answer is the endpoint's own
        await r.empty()


@pytest.mark.parametrize(("token", "script", "status"), FAILURES, ids=[token for token, _, _ in FAILURES])
async def test_what_was_sent_and_is_not_idempotent_is_sent_once_unless_asked(
    token: str, script: Script, status: int
) -> None:
    async with rig(script, script, script, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=(token,), read_seconds=0.3))
        for method in ("POST", "PATCH", "LOCK"):
            octets = request("/", "Connection: close", method=method, body=b"once")
            assert (await r.ask(octets)).startswith(b"HTTP/1.1 %d" % status)
        assert sum(asked(r)) == 3
        use(r, BackendSpec(retry_on=(token, "non_idempotent"), read_seconds=0.3))
        octets = request("/", "Connection: close", method="POST", body=b"again")
        assert (await r.ask(octets)).startswith(b"HTTP/1.1 %d" % status)
        assert sum(asked(r)) == 6


async def test_a_repeated_post_arrives_whole() -> None:
    async with rig(answers(503), answers(503), echo, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=("http_503", "non_idempotent")))
        for i in range(12):
            octets = request(f"/{i}", "Connection: close", method="POST", body=b"x" * 3000)
            assert (await r.ask(octets)).endswith(b"POST /%d|" % i + b"x" * 3000)


@pytest.mark.parametrize(("attempts", "expected"), [(1, 1), (2, 2), (4, 4), (9, 9)])
async def test_attempts(attempts: int, expected: int) -> None:
    async with rig(slam, slam, settings=PATIENT) as r:
        use(r, BackendSpec(attempts=attempts))
        assert (await r.get()).startswith(b"HTTP/1.1 502")
        assert sum(asked(r)) == expected
        few, many = asked(r)
        assert many - few <= 1 or attempts > 8  # none is asked again before the other was
        await r.empty()


async def test_the_only_endpoint_is_asked_again() -> None:
    tries = 0

    async def third_time(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        await (echo(got, reader, writer) if tries % 3 == 0 else slam(got, reader, writer))

    async with rig(third_time, settings=PATIENT) as r:
        assert (await r.get("/a")).endswith(b"GET /a|")
        assert tries == 3


async def test_off_is_one_attempt_but_a_stale_connection_is_not_the_endpoints_failure() -> None:
    async with rig(slam, slam, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=("off",)))
        assert (await r.get()).startswith(b"HTTP/1.1 502")
        assert asked(r) == [0, 1]

    closing = asyncio.Event()

    async def once(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a second request on a connection, and closes instead of answering it."""
        if got.path == "/second" and not closing.is_set():
            closing.set()
            writer.close()
        else:
            await echo(got, reader, writer)

    async with rig(once, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=("off",)))
        await r.get("/first")
        assert (await r.get("/second")).endswith(b"GET /second|")
        assert [got.connection for got in r.endpoint.requests] == [1, 1, 2]


async def test_a_refused_connection_is_tried_elsewhere_whatever_the_tokens() -> None:
    async with rig(echo, echo, echo, settings=PATIENT) as r:
        for endpoint in r.endpoints[:2]:
            assert endpoint.server is not None
            endpoint.server.close()
        use(r, BackendSpec(retry_on=()))
        for _ in range(6):
            octets = request("/", "Connection: close", method="POST", body=b"x")
            assert (await r.ask(octets)).endswith(b"POST /|x")
        use(r, BackendSpec(retry_on=(), attempts=1))
        got = [await r.get() for _ in range(6)]
        assert sum(one.startswith(b"HTTP/1.1 502") for one in got) == 4


async def test_the_time_budget() -> None:
    """Attempts of about 0.5 s each: none begins after 1.2 s."""
    times: list[float] = []

    async def late(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        await hang(got, reader, writer)

    async with rig(late, late, settings=PATIENT) as r:
        use(r, BackendSpec(attempts=50, read_seconds=0.3, retry_seconds=1.2))
        assert (await r.get()).startswith(b"HTTP/1.1 504")
        assert 2 <= len(times) <= 6
        assert times[-1] - times[0] <= 1.3
        assert all(later > earlier for earlier, later in pairwise(times))


async def test_nothing_is_tried_again_after_octets_of_the_response() -> None:
    async def interrupted(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    every = (*(token for token, _, _ in FAILURES), "non_idempotent")
    async with rig(interrupted, interrupted, settings=PATIENT) as r:
        use(r, BackendSpec(retry_on=every))
        got = await r.get()
        assert got.endswith(b"half")
        assert asked(r) == [0, 1]


async def test_a_backends_read_time_out_is_its_own() -> None:
    async with rig(hang, settings=Settings(eject_after_failures=0, upstream_read_seconds=30)) as r:
        use(r, BackendSpec(read_seconds=0.4, attempts=2))
        began = time.monotonic()
        assert (await r.get()).startswith(b"HTTP/1.1 504")
        assert 0.8 <= time.monotonic() - began < 5
        assert len(r.endpoint.requests) == 2  # on every attempt
        r.engine.set_backend("backend", [r.endpoint.address])
        waiting = asyncio.create_task(r.get())
        await until(lambda: len(r.endpoint.requests) == 3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 1.2)


async def test_a_connection_that_is_not_taken_up_times_out() -> None:
    """A listener whose queue is full: the kernel drops what comes, as a dead node's does."""
    async with rig(echo, settings=PATIENT) as r:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            r.engine.set_backend("backend", [full.getsockname()], BackendSpec(connect_seconds=0.3, attempts=1))
            assert (await r.get()).startswith(b"HTTP/1.1 504")
            spec = BackendSpec(connect_seconds=0.3, retry_on=())
            r.engine.set_backend("backend", [full.getsockname(), r.endpoint.address], spec)
            for _ in range(2):
                octets = request("/", "Connection: close", method="POST", body=b"x")
                assert (await r.ask(octets)).endswith(b"POST /|x")
            for filler in fillers:
                filler.close()


async def test_an_endpoint_that_does_not_read_times_out() -> None:
    async def deaf(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with rig(deaf, settings=PATIENT) as r:
        use(r, BackendSpec(send_seconds=0.4))
        reader, writer = await r.connect()
        writer.write(request("/", f"Content-Length: {64 << 20}", method="POST"))
        writer.write(bytes(64 << 20))
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 504")
        writer.close()
        await r.empty()


async def test_an_old_connection_is_not_used_again() -> None:
    async with rig(echo, settings=Settings(upstream_age_seconds=0.6)) as r:
        reader, writer = await r.connect()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < 1.5:
            writer.write(request("/"))
            await read_response(reader)
            await asyncio.sleep(0.02)
        assert 2 <= r.endpoint.accepted <= 4
        writer.close()


async def test_a_connection_serves_so_many_requests() -> None:
    async with rig(echo, settings=Settings(requests_per_connection=3)) as r:
        reader, writer = await r.connect()
        for _ in range(7):
            writer.write(request("/"))
            await read_response(reader)
        assert [got.connection for got in r.endpoint.requests] == [1, 1, 1, 2, 2, 2, 3]
        writer.close()


async def test_idle_connections_are_closed() -> None:
    async with rig(echo, settings=Settings(upstream_idle_seconds=0.3, idle_per_endpoint=2)) as r:
        await asyncio.gather(*(r.get() for _ in range(20)))
        await until(lambda: r.endpoint.open <= 2)
        await until(lambda: r.endpoint.open == 0)
