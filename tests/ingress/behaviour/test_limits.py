"""Limits per client, by their numbers in the inventory of behaviours."""

import asyncio
import os
import signal
import time
from collections import Counter

import pytest

from tests.ingress.peers import Client
from tests.ingress.site import CONFIGURED, CONTROLLER, Site, annotated, config_map, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = (("/", "Prefix"), ("/other", "Prefix"))

site = fixture_of(
    annotated("connections.example", {"limit-connections": "8"}),
    annotated("rps.example", {"limit-rps": "1"}, *PATHS),
    annotated("same.example", {"limit-rps": "1"}),
    annotated("rpm.example", {"limit-rpm": "12", "limit-burst-multiplier": "2"}),
    annotated("burst.example", {"limit-rps": "3", "limit-burst-multiplier": "2"}),
    annotated("exempt.example", {"limit-rps": "1", "limit-allowlist": "10.0.0.0/8"}),
    annotated("both.example", {"limit-rps": "100", "limit-rpm": "1", "limit-connections": "3"}),
    flags=["--workers", "3", "--use-forwarded-headers", "--trusted-proxies", "127.0.0.1/32"],
)


async def statuses(site: Site, host: str, number: int, client: str, path: str = "/") -> Counter[int]:
    """Of requests one after the other, each on a connection of its own: any worker may get it."""
    fields = [("X-Forwarded-For", client)]
    return Counter([(await site.get(host, path, fields=fields)).status for _ in range(number)])


async def test_230_connections(site: Site) -> None:
    echo = site.endpoints["echo"]
    echo.hold.clear()
    before = echo.requests
    clients = [await Client.connect(site.served.http) for _ in range(20)]
    asked = [asyncio.create_task(each.ask("connections.example", "/slow")) for each in clients]
    await site.served.until(lambda: sum(each.done() for each in asked) == 12)
    await site.served.until(lambda: echo.requests - before == 8)
    assert (await site.get("connections.example")).status == 503, "also for others of its address"
    assert (await site.get("same.example")).status == 200
    echo.hold.set()
    assert Counter([each.status for each in await asyncio.gather(*asked)]) == {200: 8, 503: 12}
    await site.served.until_answer("connections.example", "/", lambda answer: answer.status == 200)
    for each in clients:
        each.close()


async def test_230_a_client_that_goes_away_makes_room(site: Site) -> None:
    echo = site.endpoints["echo"]
    echo.hold.clear()
    before = echo.requests
    clients = [await Client.connect(site.served.http) for _ in range(8)]
    asked = [asyncio.create_task(each.ask("connections.example", "/slow")) for each in clients]
    await site.served.until(lambda: echo.requests - before == 8)
    assert (await site.get("connections.example")).status == 503
    for each, task in zip(clients, asked, strict=True):
        task.cancel()
        each.writer.transport.abort()
    await site.served.until_answer("connections.example", "/", lambda answer: answer.status == 200)
    echo.hold.set()


async def test_231_per_second(site: Site) -> None:
    begin = time.monotonic()
    found = await statuses(site, "rps.example", 30, "203.0.113.1")
    seconds = time.monotonic() - begin
    assert 6 <= found[200] <= 6 + seconds + 1, "over three workers"
    assert found[200] + found[503] == 30
    await asyncio.sleep(max(0.0, begin + seconds + 1.0 - time.monotonic()))
    found = await statuses(site, "rps.example", 2, "203.0.113.1", "/other")
    assert found[200] >= 1, "one more after a second"


async def test_231_all_paths_of_an_ingress_count_together_and_no_other(site: Site) -> None:
    begin = time.monotonic()
    found = await statuses(site, "rps.example", 4, "203.0.113.2")
    found += await statuses(site, "rps.example", 4, "203.0.113.2", "/other")
    assert 6 <= found[200] <= 6 + (time.monotonic() - begin) + 1
    assert (await statuses(site, "same.example", 6, "203.0.113.2"))[200] == 6
    assert (await statuses(site, "rps.example", 6, "203.0.113.3"))[200] == 6


async def test_232_per_minute(site: Site) -> None:
    begin = time.monotonic()
    found = await statuses(site, "rpm.example", 40, "203.0.113.4")
    assert 25 <= found[200] <= 25 + (time.monotonic() - begin) / 5 + 1


async def test_234_the_multiplier(site: Site) -> None:
    begin = time.monotonic()
    found = await statuses(site, "burst.example", 15, "203.0.113.5")
    assert 7 <= found[200] <= 7 + 3 * (time.monotonic() - begin) + 1


async def test_235_networks_without_limits(site: Site) -> None:
    assert (await statuses(site, "exempt.example", 15, "10.200.0.1"))[200] == 15
    assert (await statuses(site, "exempt.example", 15, "11.200.0.1"))[503] >= 5


async def test_235_each_limit_counts(site: Site) -> None:
    assert (await statuses(site, "both.example", 8, "203.0.113.6")) == {200: 6, 503: 2}


configured = fixture_of(
    config_map(*CONTROLLER.split("/"), {"limit-req-status-code": "429", "limit-conn-status-code": "430"}),
    annotated("rps.example", {"limit-rps": "1", "limit-burst-multiplier": "1"}),
    annotated("connections.example", {"limit-connections": "1"}),
    annotated("user.example", {"limit-rps": "1", "limit-burst-multiplier": "1"}),
    flags=CONFIGURED,
)


async def test_233_other_statuses(configured: Site) -> None:
    found = [(await configured.get("rps.example")).status for _ in range(12)]
    assert found.count(429) >= 1
    echo = configured.endpoints["echo"]
    echo.hold.clear()
    before = echo.requests
    client = await Client.connect(configured.served.http)
    waiting = asyncio.create_task(client.ask("connections.example", "/slow"))
    await configured.served.until(lambda: echo.requests > before)
    assert (await configured.get("connections.example")).status == 430
    echo.hold.set()
    assert (await waiting).status == 200
    client.close()


async def test_230_another_key(configured: Site) -> None:
    configured.configure({"limit-conn-zone-variable": "$http_x_user"})

    async def of(user: str) -> list[int]:
        fields = [("X-User", user)] if user else []
        return sorted([(await configured.get("user.example", fields=fields)).status for _ in range(6)])

    async def unlimited() -> bool:
        return set(await of("")) == {200}

    await configured.becomes(unlimited, True)
    assert 503 in await of("ada")
    assert (await of("bob"))[:2] == [200, 200]


slow = fixture_of(
    annotated("rate.example", {"limit-rate": "64"}),
    annotated("after.example", {"limit-rate": "64", "limit-rate-after": "512"}),
    annotated("free.example"),
)
BODY_BYTES = 192 * 1024


async def seconds_of(site: Site, host: str) -> float:
    """For a response of BODY_BYTES, which the endpoint has at once."""
    begin = time.monotonic()
    answer = await site.get(host, "/", fields=[("tell-octets", str(BODY_BYTES))])
    assert len(answer.body) == BODY_BYTES
    return time.monotonic() - begin


async def test_236_the_rate_of_a_response(slow: Site) -> None:
    rate, after, free = await asyncio.gather(
        *(seconds_of(slow, host) for host in ("rate.example", "after.example", "free.example"))
    )
    assert rate >= 0.6 * BODY_BYTES / 65536, "64 kB a second, a little ahead at the beginning"
    assert after < rate
    assert free < rate


async def test_230_what_a_killed_worker_has_counted_is_forgotten(site: Site) -> None:
    """All its connections are gone with it, so nobody would ever count them down."""
    echo = site.endpoints["echo"]
    echo.hold.clear()
    before = echo.requests
    clients = [await Client.connect(site.served.http) for _ in range(8)]
    asked = [asyncio.create_task(each.ask("connections.example", "/slow")) for each in clients]
    await site.served.until(lambda: echo.requests - before == 8)
    assert (await site.get("connections.example")).status == 503
    killed = site.served.workers()
    for each in killed:
        os.kill(each, signal.SIGKILL)
    await asyncio.wait(asked)
    assert {type(each.exception()) for each in asked} <= {ConnectionError, ConnectionResetError}
    await site.served.until(lambda: len(set(site.served.workers()) - set(killed)) == 3)
    echo.hold.set()
    await site.served.until_answer("connections.example", "/", lambda answer: answer.status == 200)
