"""The proxy under changes, failures, idle and slow clients."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench import usage
from bench.load.run import run
from bench.peers.compare import make_certificate
from bench.peers.configs import Place
from bench.peers.process import Peer, free_port, start, start_endpoint
from bench.peers.verify import verify
from bench.peers.work import HOST as PEERS_HOST
from bench.peers.work import work_named
from bench.scenarios import Finding, ScenarioFailed, clients, documents
from bench.scenarios.stage import HOST, Stage, await_true, shop, stage, two_endpoints

CHANGE_SECONDS = 0.05


def loaded(made: Stage, rate: int, seconds: float, beside: Callable[[], Awaitable[None]]) -> dict[str, Any]:
    """An open-loop load, and something that is done beside it until it ends or is done."""

    async def both() -> dict[str, Any]:
        other = asyncio.ensure_future(beside())
        try:
            return await run(made.scenario(), made.plan(rate, seconds))
        finally:
            other.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await other

    return asyncio.run(both())


async def nothing() -> None:
    """Beside a load that is only to be compared with."""


def told(result: dict[str, Any], **more: Any) -> Finding:
    figures = {
        **more,
        "requests": result["requests"],
        "errors": sum(result["errors"].values()),
        "p50, ms": result["latency_ms"]["p50"],
        "p99, ms": result["latency_ms"]["p99"],
        "max, ms": result["latency_ms"]["max"],
    }
    if result["errors"]:
        figures["errors by kind"] = ", ".join(f"{name} {count}" for name, count in result["errors"].items())
    return Finding(figures, result["timeline"])


def endpoint_churn(full: bool) -> Finding:
    """The EndpointSlices of a Service change twenty times a second under load."""
    rate, seconds = 1000, 20.0 if full else 4.0
    with two_endpoints() as (one, two), stage(*shop(one[0], two[0])) as made:
        quiet = loaded(made, rate, seconds / 2, nothing)
        changes = 0

        async def churn() -> None:
            nonlocal changes
            while True:
                for ports in ((one[0],), (two[0],), (one[0], two[0])):
                    made.write("all.yaml", *shop(*ports))
                    changes += 1
                    await asyncio.sleep(CHANGE_SECONDS)

        result = loaded(made, rate, seconds, churn)
        latency = change_latency(made, one[0], two[0])
    quiet_p99 = quiet["latency_ms"]["p99"]
    return told(result, **{"changes": changes, "p99 without changes, ms": quiet_p99, "change to answer, ms": latency})


def change_latency(made: Stage, one: int, two: int, times: int = 7) -> float:
    """Median milliseconds from a changed file to the first answer of the other endpoint, the only one from then on."""
    made.write("all.yaml", *shop(two))
    found = []
    for number in range(times):
        before, wanted = ((two, one), (one, two))[number % 2]
        settle(made, before)
        made.write("all.yaml", *shop(wanted))
        found.append(await_true(made.answers(endpoint=wanted), 10, "the change of an endpoint", 0.0005) * 1000)
    return round(sorted(found)[times // 2], 2)


def settle(made: Stage, port: int, times: int = 20) -> None:
    """Wait until all answers come from one endpoint."""
    answered = made.answers(endpoint=port)
    await_true(lambda: all(answered() for _ in range(times)), 20, "the last change")


def route_churn(full: bool) -> Finding:
    """Another Ingress comes, changes and goes twenty times a second under load, beside 500 that stay."""
    rate, seconds = 1000, 20.0 if full else 4.0
    others = [documents.ingress(f"other-{number}", [f"h{number}.example.com"]) for number in range(500)]
    with two_endpoints() as (one, two), stage(*shop(one[0], two[0]), *others) as made:
        quiet = loaded(made, rate, seconds / 2, nothing)
        changes = 0

        async def churn() -> None:
            nonlocal changes
            while True:
                made.write("new.yaml", documents.ingress("new", [f"new{changes % 7}.example.com"]))
                changes += 1
                await asyncio.sleep(CHANGE_SECONDS)

        result = loaded(made, rate, seconds, churn)
    return told(result, **{"changes": changes, "p99 without changes, ms": quiet["latency_ms"]["p99"]})


def slow_clients(full: bool) -> Finding:
    """Clients that read 1 MiB at 16 KiB/s beside fast ones."""
    count, seconds = (500, 20.0) if full else (50, 4.0)
    with two_endpoints() as (one, two), stage(*shop(one[0], two[0])) as made:
        quiet = loaded(made, 1000, seconds / 2, nothing)
        before = usage.own_memory_bytes(made.process.pid)
        with clients.slow(made.port, HOST, "/1048576", count=count, octets_per_second=16384):
            result = loaded(made, 1000, seconds, nothing)
            grown = usage.own_memory_bytes(made.process.pid) - before
    more = {"slow clients": count, "p99 without them, ms": quiet["latency_ms"]["p99"]}
    return told(result, **more, **{"memory per slow client, KiB": round(grown / count / 1024, 1)})


def worker_kill(full: bool) -> Finding:
    """One of two workers is killed under load; another takes its place."""
    seconds = 8.0 if full else 4.0
    with two_endpoints() as (one, two), stage(*shop(one[0], two[0]), workers=2) as made:
        before = usage.family(made.process.pid)
        workers = before[1:]
        if len(workers) < 2:
            raise ScenarioFailed(f"two workers were expected below process {before[0]}, there are {len(workers)}")
        replaced = 0.0

        def as_many_again() -> bool:
            now = usage.family(made.process.pid)
            return len(now) == len(before) and workers[-1] not in now

        async def kill() -> None:
            nonlocal replaced
            await asyncio.sleep(seconds / 3)
            os.kill(workers[-1], signal.SIGKILL)
            replaced = await asyncio.to_thread(await_true, as_many_again, 20, "another worker")

        result = loaded(made, 1000, seconds, kill)
    return told(result, **{"another worker process after, ms": round(replaced * 1000, 1)})


def upstream_failure(full: bool) -> Finding:
    """One of two endpoints dies under load and stays in the EndpointSlice for a second."""
    seconds = 8.0 if full else 4.0
    with two_endpoints() as (one, two), stage(*shop(one[0], two[0])) as made:

        async def fail() -> None:
            await asyncio.sleep(seconds / 3)
            os.kill(two[1], signal.SIGKILL)
            await asyncio.sleep(1.0)
            made.write("all.yaml", *shop(one[0]))
            await asyncio.sleep(seconds)

        result = loaded(made, 1000, seconds, fail)
    return told(result, **{"answered by the one that died": result["answered_by"].get(str(two[0]), 0)})


def idle_connections(full: bool) -> Finding:
    """Connections that were answered once and stay: what each costs the proxy, ours and nginx."""
    count = 5000
    figures: dict[str, Any] = {"connections": count}
    with tempfile.TemporaryDirectory(prefix="causeway-bench-", dir="/dev/shm") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        make_certificate(folder)
        endpoint = start_endpoint(folder / "endpoint", None)
        try:
            for name in ("causeway", "nginx"):
                figures |= _idle(name, folder, endpoint, count)
        finally:
            endpoint.stop()
    return Finding(figures)


def _idle(name: str, folder: Path, endpoint: Peer, count: int) -> dict[str, Any]:
    place = Place(str(folder / name), free_port(), endpoint.port, str(folder / "tls.crt"), str(folder / "tls.key"))
    peer = start(name, work_named("keep-alive"), place, None)
    try:
        verify(peer)
        with clients.idle(peer.port, PEERS_HOST, 50):
            before = usage.own_memory_bytes(peer.process.pid)
        with clients.idle(peer.port, PEERS_HOST, count):
            grown = usage.own_memory_bytes(peer.process.pid) - before
        return {f"{name}, bytes per connection": round(grown / count)}
    finally:
        peer.stop()
