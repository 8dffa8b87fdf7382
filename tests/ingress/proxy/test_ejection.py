"""Passive ejection: an endpoint that fails again and again is left out, for a while, and never with too many others."""

import asyncio

from ingress.proxy import Settings
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
    return sum(one["ejected"] for one in r.engine.stats()["endpoints"].values())


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
