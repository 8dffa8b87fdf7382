"""Active health checks: reading the flag, verdicts, who may be used, and the whole command."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ingress.health import Health, HealthCheck, HealthChecks, ask, read_health_check
from ingress.listeners import BadAddress
from ingress.routes.model import Backend, Changes, Endpoint
from tests.ingress.peers import ask as ask_proxy
from tests.ingress.serving import serving
from tests.lb.cluster.waiting import until

QUICK = HealthCheck(path="/healthz", interval_seconds=0.05, timeout_seconds=0.5)


class Pod:
    """Answers every request with its name, and checks as it is told."""

    def __init__(self, name: str = "pod") -> None:
        self.name = name
        self.status: int | None = 200
        """None: takes the connection and says nothing."""
        self.checks: list[str] = []
        self.address: Endpoint = ("", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                status: int | None = 200
                if head.startswith("GET /healthz "):
                    self.checks.append(head)
                    status = self.status
                if status is None:
                    await asyncio.Event().wait()
                answer = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(self.name)}\r\n\r\n{self.name}"
                writer.write(answer.encode())
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def pods(*names: str) -> AsyncIterator[list[Pod]]:
    found = [Pod(name) for name in names]
    servers = []
    for pod in found:
        servers.append(await asyncio.start_server(pod.serve, "127.0.0.1", 0))
        pod.address = servers[-1].sockets[0].getsockname()[:2]
    try:
        yield found
    finally:
        for server in servers:
            server.close()


def backend(*endpoints: Endpoint, service: str = "web") -> Backend:
    return Backend(namespace="shop", service=service, port="80", endpoints=endpoints)


def changes(*found: Backend) -> Changes:
    return Changes(backends={each.key: each for each in found})


def test_reading_the_flag() -> None:
    assert read_health_check("/healthz") == HealthCheck(path="/healthz")
    text = "/up?deep=1,interval=3,timeout=0.5,fails=4,passes=2,status=204,host=shop.example"
    assert read_health_check(text) == HealthCheck(
        path="/up?deep=1", interval_seconds=3, timeout_seconds=0.5, fails=4, passes=2, least=204, most=204,
        host="shop.example",
    )  # fmt: skip
    assert read_health_check("/,status=200-299").most == 299


@pytest.mark.parametrize(
    "text",
    ["", "healthz", "/a b", "/,fails=0", "/,interval=0", "/,interval=soon", "/,status=99", "/,status=300-200",
     "/,port=1", "/,fails", "/\r\nX: y", "/,host=a b", "/,interval=nan"],
)  # fmt: skip
def test_what_the_flag_cannot_say(text: str) -> None:
    with pytest.raises(BadAddress, match='"'):
        read_health_check(text)


def test_verdicts_in_a_row() -> None:
    check = HealthCheck(path="/", fails=3, passes=2)
    health = Health()
    verdicts = [False, False, True, False, False, False, True, False, True, True]
    assert [i for i, passed in enumerate(verdicts) if health.note(passed, check)] == [5, 9]
    assert health.well


@pytest.mark.parametrize(
    ("status", "check", "wrong"),
    [
        (200, QUICK, ""),
        (302, QUICK, ""),
        (404, QUICK, "status 404"),
        (503, QUICK, "status 503"),
        (200, HealthCheck(path="/healthz", least=204, most=204), "status 200"),
        (None, HealthCheck(path="/healthz", timeout_seconds=0.2), "no answer within 0.2 s"),
    ],
)
async def test_one_check(status: int | None, check: HealthCheck, wrong: str) -> None:
    async with pods("a") as [pod]:
        pod.status = status
        assert await ask(pod.address, check) == wrong
        assert f"Host: 127.0.0.1:{pod.address[1]}\r\n" in pod.checks[0]


async def test_what_is_no_answer() -> None:
    async def mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await reader.read()
        writer.close()

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    for script in (mail, slam):
        server = await asyncio.start_server(script, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()[:2]
        assert await ask(address, QUICK) in ("no HTTP answer", "Connection reset by peer")
        server.close()
    assert "refused" in await ask(address, QUICK)


async def test_who_may_be_used() -> None:
    published: list[Changes] = []
    async with pods("a", "b") as [a, b]:
        checks = HealthChecks(QUICK, published.append)
        first = checks.take(changes(backend(a.address, b.address), backend(b.address, service="api")))
        assert first.backends["shop/web:80"] == backend(a.address, b.address)  # well until proved otherwise
        b.status = 500
        await until(lambda: published)
        assert published[-1].backends["shop/web:80"] == backend(a.address)
        assert published[-1].backends["shop/api:80"] == backend(b.address, service="api")  # its only one
        assert checks.usable((a.address, b.address)) == (a.address,)
        a.status = None
        await until(lambda: len(published) == 2)
        assert published[-1].backends["shop/web:80"] == backend(a.address, b.address)  # all bad: all of them
        b.status = 200
        await until(lambda: len(published) == 3)
        assert published[-1].backends["shop/web:80"] == backend(b.address)
        taken = checks.take(changes(backend(a.address, b.address)))  # the tables say the same again
        assert taken.backends["shop/web:80"] == backend(b.address)
        checks.take(Changes(backends={"shop/web:80": None, "shop/api:80": None}))
        assert not checks.endpoints
        asked = len(b.checks)
        await asyncio.sleep(0.2)
        assert len(b.checks) <= asked + 1
        await checks.close()


async def test_the_command() -> None:
    async with pods("a", "b", "c") as found:
        to = ",".join("{}:{}".format(*pod.address) for pod in found)
        flags = ("--to", to, "--workers", "2", "--health-check", "/healthz,interval=0.1,timeout=1,host=check.example")
        async with serving(*flags) as served:
            assert await answers(served.http) == {"a", "b", "c"}
            found[1].status = 503
            await served.until(lambda: "fails its health check: status 503" in served.log)
            await all_answers(served.http, {"a", "c"})
            worker = served.workers()[0]
            os.kill(worker, signal.SIGKILL)  # who takes its place is told the same
            await served.until_replaced(worker, 2)
            await all_answers(served.http, {"a", "c"})
            found[1].status = 200
            await served.until(lambda: "passes its health check again" in served.log)
            await all_answers(served.http, {"a", "b", "c"})
            for pod in found:
                pod.status = 500
            await served.until(lambda: served.log.count("fails its health check") == 4)
            await all_answers(served.http, {"a", "b", "c"})
            assert "Host: check.example\r\n" in found[0].checks[0]
            assert await served.end() == 0


async def answers(port: int) -> set[str]:
    """Who answers 24 requests, each on a connection of its own."""
    found: Counter[str] = Counter()
    for _ in range(24):
        answer = await ask_proxy(port, "any", "/")
        assert answer.status == 200
        found[answer.body.decode()] += 1
    return set(found)


async def all_answers(port: int, wanted: set[str]) -> None:
    async with asyncio.timeout(10):
        while await answers(port) != wanted:  # noqa: ASYNC110 - the workers take it up a moment later
            await asyncio.sleep(0.02)


async def test_balance_by_a_flag() -> None:
    async with pods("a", "b", "c", "d") as found:
        to = ",".join("{}:{}".format(*pod.address) for pod in found)
        async with serving("--to", to, "--workers", "2", "--balance", "maglev:uri") as served:
            for path in ("/x", "/y", "/z"):
                names = {(await ask_proxy(served.http, "any", path)).body for _ in range(16)}
                assert len(names) == 1  # in every worker
