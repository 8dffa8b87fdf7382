"""The controller at a real API server that holds a large cluster: start, changes, memory, requests meanwhile.

Runs in a network namespace of its own, as an EndpointSlice may not name a loopback address; started again there as
`python -m bench.scenarios.scale COUNT`.
"""

import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from itertools import count as counting
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from bench import native, usage
from bench.load.arrivals import parse_profile
from bench.load.run import Plan, run
from bench.load.scenario import Request, Scenario
from bench.peers.compare import make_certificate
from bench.peers.process import free_port, python_env
from bench.scenarios import Finding, ScenarioFailed, Skipped, crowd
from bench.scenarios.apiserver import ELSEWHERE, TOKEN, Api, api_server, kubeconfig, programs
from bench.scenarios.documents import Document
from bench.scenarios.relay import TURN, Arrivals, relay
from bench.scenarios.stage import is_root

ADDRESS = "10.99.0.1"
HOST = "h0.example.com"
CHANGES = 300
LOAD_SECONDS = 8.0
POLL_SECONDS = 0.0002
GIVE_UP_SECONDS = 300.0


def scale(full: bool) -> Finding:
    """10,000 Ingresses, 10,000 Services and 100,000 endpoints (in full) at an API server.

    Changes are timed to the first answer by them, from the arrival of their event at the controller and from when they
    were sent to the API server; first alone, then while 200 others a second are made.
    """
    if not is_root():
        raise Skipped("needs root: makes a network namespace")
    programs()
    inside = [sys.executable, "-m", "bench.scenarios.scale", str(10_000 if full else 1_000)]
    done = subprocess.run(
        ["unshare", "--net", "--kill-child", *inside], capture_output=True, text=True, env=python_env()
    )
    if done.returncode:
        raise ScenarioFailed((done.stderr.strip() or "it failed").splitlines()[-1])
    return Finding(json.loads(done.stdout))


class _Taken(NamedTuple):
    """How long a change took until the first answer by it, in ms."""

    since_arrival: float
    since_sent: float


class _Cluster:
    def __init__(self, api: Api, arrivals: Arrivals, ports: tuple[int, int], count: int) -> None:
        self.api = api
        self.arrivals = arrivals
        self.ports = ports
        self.count = count
        self.http = 0
        self.process: asyncio.subprocess.Process | None = None
        self.turns = counting(1)

    @contextlib.asynccontextmanager
    async def controller(self, config: Path) -> AsyncIterator[float]:
        """Started; seconds until the first right answer."""
        self.http = free_port()
        argv = [sys.executable, "-m", "causeway", "ingress", "--kubeconfig", str(config), "--workers", "1"]
        argv += ["--http", f"127.0.0.1:{self.http}", "--lease-namespace", "bench"]
        with (config.parent / "controller.log").open("wb") as output:
            began = time.monotonic_ns()
            self.process = await asyncio.create_subprocess_exec(*argv, stdout=output, stderr=output)
        try:
            now = threading.Event()
            now.set()
            yield (await self.answered(HOST, self.ports[0], now) - began) / 1e9
        finally:
            self.process.terminate()
            await self.process.wait()

    async def answered(self, host: str, port: int, arrived: threading.Event) -> int:
        """Ask, once it has arrived, until the endpoint at `port` has answered; when that was."""
        return await asyncio.to_thread(_until_answered, self.http, host, port, arrived)

    async def timed(self, change: Document, host: str, port: int, *, new: bool) -> _Taken:
        turn = next(self.turns)
        change["metadata"]["annotations"] = {TURN: str(turn)}
        sent = time.monotonic_ns()
        making = asyncio.create_task(self.api.create([change]) if new else self.api.put(change))
        go = threading.Event()
        asking = asyncio.create_task(self.answered(host, port, go))
        arrived = await self.arrivals.of(turn)
        go.set()
        live = await asking
        await making
        return _Taken((live - arrived) / 1e6, (live - sent) / 1e6)

    async def endpoint_changes(self) -> list[_Taken]:
        """The only endpoint of the first Service moves to and fro, an even number of times."""
        found = []
        for number in range(CHANGES):
            port = self.ports[(number + 1) % 2]
            found.append(await self.timed(crowd.endpoints(0, port, [ADDRESS]), HOST, port, new=False))
        return found

    async def new_ingresses(self, name: str) -> list[_Taken]:
        found = []
        for number in range(CHANGES):
            host = f"{name}{number}.example.com"
            found.append(await self.timed(crowd.ingress(f"{name}{number}", host), host, self.ports[0], new=True))
        return found

    async def load(self) -> dict[str, Any]:
        asks = Scenario(target=f"http://127.0.0.1:{self.http}", requests=(Request(host=HOST),))
        pieces = parse_profile("1000", LOAD_SECONDS)
        return await run(asks, Plan(duration_seconds=LOAD_SECONDS, connections=16, pieces=pieces))

    async def measured(self) -> dict[str, Any]:
        alone = _figures("", await self.endpoint_changes(), await self.new_ingresses("new"))
        quiet = await self.load()
        async with _churn(self.api.url, self.count) as rates:
            busy = await self.load()
            rest = _figures(" under changes", await self.endpoint_changes(), await self.new_ingresses("more"))
        return {
            **alone,
            **rest,
            "requests' p99 in quiet, ms": quiet["latency_ms"]["p99"],
            "requests' p99 under changes, ms": busy["latency_ms"]["p99"],
            "changes a second meanwhile": round(rates[-1]),
            "errors": sum(quiet["errors"].values()) + sum(busy["errors"].values()),
        }

    def memory(self) -> dict[str, Any]:
        assert self.process is not None
        worker = usage.family(self.process.pid)[-1]
        return {
            "memory of the worker, MiB": round(usage.own_memory_bytes(worker) / (1 << 20), 1),
            "memory of all, MiB": round(usage.memory_bytes(self.process.pid) / (1 << 20), 1),
        }


@contextlib.asynccontextmanager
async def _churn(url: str, count: int) -> AsyncIterator[list[float]]:
    """Changes of other objects are made; how many a second, as known so far."""
    argv = [*ELSEWHERE, sys.executable, "-m", "bench.scenarios.crowd", url, str(count)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, env=python_env())
    output, rates = process.stdout, [0.0]
    assert output is not None

    async def read() -> None:
        async for line in output:
            made, seconds = map(float, line.split())
            rates.append(made / seconds)

    reading = asyncio.create_task(read())
    try:
        yield rates
        if process.returncode is not None:
            raise ScenarioFailed("the changes have ended")
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


def _until_answered(at: int, host: str, port: int, arrived: threading.Event) -> int:
    """Blocks. What the client does itself counts, so it is connected before."""
    connection = http.client.HTTPConnection("127.0.0.1", at, timeout=10)
    until = time.monotonic() + GIVE_UP_SECONDS
    with contextlib.closing(connection):
        with contextlib.suppress(OSError):
            connection.connect()
        arrived.wait(GIVE_UP_SECONDS)
        while time.monotonic() < until:
            try:
                connection.request("GET", "/", headers={"Host": host})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
            else:
                if answer.status == 200 and answer.headers["X-Endpoint"] == str(port):
                    return time.monotonic_ns()
            time.sleep(POLL_SECONDS)
    raise ScenarioFailed(f"{host} was not answered within {GIVE_UP_SECONDS:g} s")


async def _measure(count: int, folder: Path, url: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    make_certificate(folder)
    with native.endpoint("any=1") as (one, _), native.endpoint("any=1") as (two, _):
        async with aiohttp.ClientSession(headers=headers) as session, relay(url, folder) as arrivals:
            api = Api(url, session)
            await crowd.fill(api, count, crowd.endpoints(0, one, [ADDRESS]))
            cluster = _Cluster(api, arrivals, (one, two), count)
            async with cluster.controller(kubeconfig(folder, arrivals.url)) as start:
                return {
                    "Ingresses": count,
                    "Services": count,
                    "endpoints": count * crowd.PER_SERVICE,
                    "start to first right answer, s": round(start, 2),
                    **await cluster.measured(),
                    **cluster.memory(),
                }


def _figures(when: str, endpoints: list[_Taken], ingresses: list[_Taken]) -> dict[str, float]:
    found = {}
    for what, taken in (("changed endpoint", endpoints), ("new Ingress", ingresses)):
        for since, values in (
            ("", [each.since_arrival for each in taken]),
            (" since sent", [each.since_sent for each in taken]),
        ):
            found[f"{what}{when}{since}, median, ms"] = _share(values, 0.5)
            found[f"{what}{when}{since}, p99, ms"] = _share(values, 0.99)
    return found


def _share(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 2)


def main() -> None:
    for command in ("ip link set lo up", f"ip address add {ADDRESS}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    with tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch, api_server(Path(scratch)) as (url, _):
        print(json.dumps(asyncio.run(_measure(int(sys.argv[1]), Path(scratch), url))))


if __name__ == "__main__":
    main()
