"""Passive ejection: an endpoint that fails again and again is left out, for a while, and never with too many others."""

import asyncio

import pytest

from ingress.proxy import BackendSpec, Settings
from tests.ingress.proxy.rig import Request, Rig, echo, request, rig, until

EJECTING = Settings(eject_after_failures=3, eject_seconds=1.0)


class Switch:
    """A script that closes at once while it is broken, and else echoes."""

    def __init__(self) -> None:
        self.broken = True
        self.asked = 0

    async def __call__(self, got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        if self.broken:
            writer.close()
        else:
            await echo(got, reader, writer)


def ejected(r: Rig) -> int:
    return sum(one.ejected for one in r.engine.seen_endpoints())


async def test_a_failing_endpoint_is_left_out_and_comes_back() -> None:
    bad = Switch()
    async with rig(bad, echo, echo, settings=EJECTING) as r:
        while ejected(r) == 0:
            assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert bad.asked == 3
        for _ in range(20):
            await r.ask(request("/", "Connection: close", method="POST", body=b"x"))
        assert bad.asked == 3  # not one request was risked on it
        assert r.event("ejections") == 1
        await until(lambda: ejected(r) == 0)
        for _ in range(3):  # one more failure is enough now
            assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert ejected(r) == 1
        assert bad.asked == 4
        bad.broken = False
        await until(lambda: ejected(r) == 0)
        for _ in range(30):
            assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert bad.asked >= 12
        assert ejected(r) == 0


async def test_when_all_look_bad_all_are_tried() -> None:
    bad = [Switch() for _ in range(3)]
    async with rig(*bad, settings=EJECTING) as r:
        for _ in range(20):
            assert (await r.get()).startswith(b"HTTP/1.1 502")
        assert ejected(r) == 3
        for switch in bad:
            switch.broken = False
        assert (await r.get()).startswith(b"HTTP/1.1 200")


async def test_the_only_endpoint_is_never_left_out() -> None:
    bad = Switch()
    async with rig(bad, settings=EJECTING) as r:
        for _ in range(5):
            assert (await r.get()).startswith(b"HTTP/1.1 502")
        bad.broken = False
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert ejected(r) == 0


async def test_a_status_is_no_failure() -> None:
    async def error(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")

    async with rig(error, echo, settings=EJECTING) as r:
        for _ in range(20):
            await r.get()
        assert ejected(r) == 0


@pytest.mark.parametrize("algorithm", ["round_robin", "least_requests", "ring", "maglev"])
@pytest.mark.parametrize(
    ("share", "bad_n", "spared"), [(0.2, 1, False), (0.34, 1, True), (0.34, 2, False), (1.0, 2, True)]
)
async def test_how_many_may_be_left_out(algorithm: str, share: float, bad_n: int, spared: bool) -> None:
    """Of three. When more look bad than may, all are asked: the requests are shared out as if nothing had happened."""
    bad = [Switch() for _ in range(bad_n)]
    hash_by = "uri" if algorithm in ("ring", "maglev") else ""
    spec = BackendSpec(
        algorithm=algorithm, hash_by=hash_by, eject_share=share, eject_after_failures=2, eject_seconds=60, load_bound=0
    )
    async with rig(*bad, *[echo] * (3 - bad_n), settings=Settings(seed=7)) as r:
        r.engine.set_backend("backend", [endpoint.address for endpoint in r.endpoints], spec)
        for i in range(200):
            if ejected(r) == bad_n:
                break
            assert (await r.get(f"/{i}")).startswith(b"HTTP/1.1 200")
        assert ejected(r) == bad_n
        before = sum(switch.asked for switch in bad)
        for i in range(60):
            assert (await r.get(f"/{i}")).startswith(b"HTTP/1.1 200")
        asked = sum(switch.asked for switch in bad) - before
        assert asked == 0 if spared else asked > 0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
async def test_nobody_is_refused_because_all_look_bad(share: float) -> None:
    bad = [Switch() for _ in range(3)]
    async with rig(*bad, settings=Settings(eject_after_failures=1, eject_seconds=60, eject_share=share)) as r:
        for algorithm in ("round_robin", "ewma", "least_requests", "ring", "maglev"):
            for switch in bad:
                switch.broken = True
            spec = BackendSpec(algorithm=algorithm, hash_by="client" if algorithm in ("ring", "maglev") else "")
            r.engine.set_backend("backend", [endpoint.address for endpoint in r.endpoints], spec)
            for _ in range(3):
                assert (await r.get()).startswith(b"HTTP/1.1 502")
            assert ejected(r) == 3
            for switch in bad:
                switch.broken = False
            assert (await r.get()).startswith(b"HTTP/1.1 200")


async def test_an_ejected_endpoint_comes_back_slowly() -> None:
    bad = Switch()
    async with rig(bad, echo, settings=Settings(eject_after_failures=1, eject_seconds=0.3, seed=7)) as r:
        where = [endpoint.address for endpoint in r.endpoints]
        r.engine.set_backend("backend", where, BackendSpec(slow_start_seconds=60))
        while ejected(r) == 0:
            await r.get()
        bad.broken = False
        await until(lambda: ejected(r) == 0)
        asked = bad.asked
        while bad.asked == asked:  # it is well again once it has answered
            await r.get()
        for _ in range(40):
            await r.get()
        assert bad.asked - asked < 12
