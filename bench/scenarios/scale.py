"""The controller at a real API server that holds a large cluster: start, changes, memory, requests meanwhile.

Runs in a network namespace of its own, as an EndpointSlice may not name a loopback address; started again there as
`python -m bench.scenarios.scale COUNT`.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count as counting
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

from bench import native, usage
from bench.load.arrivals import parse_profile
from bench.load.run import Plan, run
from bench.load.scenario import Request, Scenario
from bench.peers.process import free_port, python_env
from bench.scenarios import Finding, ScenarioFailed, Skipped, documents
from bench.scenarios.apiserver import Api, api_server, programs
from bench.scenarios.stage import is_root

ADDRESS = "10.99.0.1"
HOST = "h0.example.com"
CLASS = "nginx"
PER_SERVICE = 10
CHANGES = 200
PER_SECOND = 200
LOAD_SECONDS = 8.0
GIVE_UP_SECONDS = 300.0


def scale(full: bool) -> Finding:
    """10,000 Ingresses, 10,000 Services and 100,000 endpoints (in full) at an API server.

    Changes are timed from the arrival of their event, as another watcher sees it, to the first answer by them.
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


def _service(number: int) -> documents.Document:
    found = documents.service(f"s{number}")
    del found["spec"]["clusterIP"]
    return found


def _endpoints(number: int, port: int, addresses: list[str] | None = None) -> documents.Document:
    """The first Service's are there; those of the others are only names."""
    some = addresses or [f"10.{100 + number // 65536}.{number // 256 % 256}.{each}" for each in range(PER_SERVICE)]
    return documents.endpoints(f"s{number}", port, addresses=some)


def _ingress(name: str, host: str, service: str = "s0") -> documents.Document:
    found = documents.ingress(name, [host], service)
    found["spec"]["ingressClassName"] = CLASS
    return found


class _Cluster:
    def __init__(self, api: Api, ports: tuple[int, int], count: int) -> None:
        self.api = api
        self.ports = ports
        self.count = count
        self.http = 0
        self.process: asyncio.subprocess.Process | None = None

    async def fill(self) -> None:
        api = self.api
        await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": "bench"}})
        await api.create([{
            "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": CLASS},
            "spec": {"controller": "k8s.io/ingress-nginx"},
        }])  # fmt: skip
        await api.create(map(_service, range(self.count)))
        await api.create([_endpoints(0, self.ports[0], [ADDRESS])])
        await api.create(_endpoints(each, 8080) for each in range(1, self.count))
        await api.create(_ingress(f"i{each}", f"h{each}.example.com", f"s{each}") for each in range(1, self.count))
        await api.create([_ingress("i0", HOST)])

    @contextlib.asynccontextmanager
    async def controller(self, config: Path) -> AsyncIterator[float]:
        """Started; seconds until the first right answer."""
        self.http = free_port()
        argv = [sys.executable, "-m", "causeway", "ingress", "--kubeconfig", str(config), "--workers", "1"]
        argv += ["--http", f"127.0.0.1:{self.http}", "--lease-namespace", "bench"]
        with (config.parent / "controller.log").open("wb") as output:
            began = time.perf_counter()
            self.process = await asyncio.create_subprocess_exec(*argv, stdout=output, stderr=output)
        try:
            await self.until(HOST, self.ports[0])
            yield time.perf_counter() - began
        finally:
            self.process.terminate()
            await self.process.wait()

    async def until(self, host: str, port: int | None = None) -> float:
        """Ask until the endpoint at `port` (None: any) answers; how long that took, in seconds."""
        began = time.perf_counter()
        while time.perf_counter() - began < GIVE_UP_SECONDS:
            with contextlib.suppress(OSError, aiohttp.ClientError):
                async with self.api.session.get(f"http://127.0.0.1:{self.http}/", headers={"Host": host}) as answer:
                    if answer.status == 200 and port in (None, int(answer.headers["X-Endpoint"])):
                        return time.perf_counter() - began
            await asyncio.sleep(0.0002)
        raise ScenarioFailed(f"{host} was not answered within {GIVE_UP_SECONDS:g} s")

    async def timed(
        self, events: AsyncIterator[str], name: str, change: Awaitable[None], wait: Callable[[], Awaitable[float]]
    ) -> float:
        """Milliseconds from the event about `name` to what `wait` waits for."""
        making = asyncio.ensure_future(change)
        async for each in events:
            if each == name:
                break
        seconds = await wait()
        await making
        return seconds * 1000

    async def endpoint_changes(self) -> list[float]:
        found = []
        async with self.api.watch("EndpointSlice", "metadata.name=s0-1") as events:
            for number in range(CHANGES):
                port = self.ports[(number + 1) % 2]
                change = self.api.put(_endpoints(0, port, [ADDRESS]))
                found.append(await self.timed(events, "s0-1", change, lambda port=port: self.until(HOST, port)))  # type: ignore[misc]
        return sorted(found)

    async def ingress_changes(self) -> list[float]:
        found = []
        async with self.api.watch("Ingress") as events:
            for number in range(CHANGES):
                name, host = f"new{number}", f"new{number}.example.com"
                change = self.api.create([_ingress(name, host)])
                found.append(await self.timed(events, name, change, lambda host=host: self.until(host)))  # type: ignore[misc]
        return sorted(found)

    async def load(self) -> dict[str, Any]:
        asks = Scenario(target=f"http://127.0.0.1:{self.http}", requests=(Request(host=HOST),))
        pieces = parse_profile("1000", LOAD_SECONDS)
        return await run(asks, Plan(duration_seconds=LOAD_SECONDS, connections=16, pieces=pieces))

    async def churn(self) -> int:
        """Slices of other Services, until cancelled; how many changes there were."""
        began, made = time.perf_counter(), 0
        ports = cycle((8081, 8082, 8083))
        with contextlib.suppress(asyncio.CancelledError):
            for made in counting(1):
                await self.api.put(_endpoints(1 + made % (self.count - 1), next(ports)))
                await asyncio.sleep(max(0.0, began + made / PER_SECOND - time.perf_counter()))
        return made


async def _measure(count: int, folder: Path, url: str, config: Path) -> dict[str, Any]:
    headers = {"Authorization": "Bearer bench"}
    with native.endpoint("any=1") as (one, _), native.endpoint("any=1") as (two, _):
        async with aiohttp.ClientSession(headers=headers) as session:
            cluster = _Cluster(Api(url, session), (one, two), count)
            await cluster.fill()
            async with cluster.controller(config) as start:
                endpoint, ingress = await cluster.endpoint_changes(), await cluster.ingress_changes()
                quiet = await cluster.load()
                churning = asyncio.ensure_future(cluster.churn())
                busy = await cluster.load()
                churning.cancel()
                assert cluster.process is not None
                worker = usage.family(cluster.process.pid)[-1]
                return {
                    "Ingresses": count,
                    "Services": count,
                    "endpoints": count * PER_SERVICE,
                    "start to first right answer, s": round(start, 2),
                    "changed endpoint, median, ms": _share(endpoint, 0.5),
                    "changed endpoint, p99, ms": _share(endpoint, 0.99),
                    "new Ingress, median, ms": _share(ingress, 0.5),
                    "new Ingress, p99, ms": _share(ingress, 0.99),
                    "memory of the worker, MiB": round(usage.own_memory_bytes(worker) / (1 << 20), 1),
                    "memory of all, MiB": round(usage.memory_bytes(cluster.process.pid) / (1 << 20), 1),
                    "requests' p99 in quiet, ms": quiet["latency_ms"]["p99"],
                    "requests' p99 under changes, ms": busy["latency_ms"]["p99"],
                    "changes a second meanwhile": round(await churning / LOAD_SECONDS),
                    "errors": sum(quiet["errors"].values()) + sum(busy["errors"].values()),
                }


def _share(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)


def main() -> None:
    for command in ("ip link set lo up", f"ip address add {ADDRESS}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    with tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch, api_server(Path(scratch)) as (url, config):
        print(json.dumps(asyncio.run(_measure(int(sys.argv[1]), Path(scratch), url, config))))


if __name__ == "__main__":
    main()
