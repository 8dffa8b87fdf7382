"""Everything changes at once, all the time: what becomes of requests."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from bench import usage
from bench.load.run import Plan, run
from bench.load.scenario import Request, Scenario
from bench.peers.compare import make_certificate
from bench.scenarios import Finding, ScenarioFailed, documents
from bench.scenarios.documents import Document
from bench.scenarios.stage import HOST, Stage, shop, stage, two_endpoints

CONNECTIONS = 16
KILL_SECONDS = 3.0
CHANGE_SECONDS = 0.05
CERTIFICATES = 4
CUT = ("reset", "closed_early")
"""What a connection of a killed worker comes to."""


def churn(full: bool) -> Finding:
    """Endpoints and routes change twenty times a second, the certificate five times, and every three seconds a worker
    is killed, until a million requests (in full) are answered on kept connections, others on new ones over TLS.

    What a killed worker had in work is lost, at most a request for each connection; nothing else may be.
    """
    wanted, slice_seconds = (1_000_000, 10.0) if full else (50_000, 4.0)
    with tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch, two_endpoints() as (one, two):
        secrets = [_secret(Path(scratch)) for _ in range(CERTIFICATES)]
        ports = (one[0], two[0])
        with stage(secrets[0], *_shop(*ports), workers=2) as made:
            changes = _Changes(made, ports, secrets)
            found = asyncio.run(changes.under_load(wanted, slice_seconds))
    lost = found["errors"] - found["cut"]
    if found["cut"] > 2 * CONNECTIONS * found["workers killed"]:
        raise ScenarioFailed(f"{found['reset']} requests cut by {found['workers killed']} killed workers")
    return Finding({**found, "lost for no killed worker": lost})


def _shop(*ports: int) -> list[Document]:
    return [*shop(*ports)[:1], documents.ingress("shop", [HOST], tls_secret="shop-tls"), *shop(*ports)[2:]]


def _secret(folder: Path) -> Document:
    make_certificate(folder)
    return documents.secret("shop-tls", (folder / "tls.crt").read_bytes(), (folder / "tls.key").read_bytes())


class _Changes:
    """What goes on beside the load, and how often it has."""

    def __init__(self, made: Stage, ports: tuple[int, int], secrets: list[Document]) -> None:
        self.made = made
        self.ports = ports
        self.secrets = cycle(secrets)
        self.secret = secrets[0]
        self.counts = {"endpoint changes": 0, "route changes": 0, "certificate changes": 0, "workers killed": 0}

    async def under_load(self, wanted: int, slice_seconds: float) -> dict[str, Any]:
        """Loads in slices, until as many requests as wanted are answered."""
        asked = {"requests": 0, "over TLS": 0, "errors": 0, "cut": 0}
        others = [asyncio.ensure_future(each()) for each in (self.endpoints, self.routes, self.certificates, self.kill)]
        kinds: dict[str, int] = {}
        try:
            while asked["requests"] < wanted:
                for each in others:
                    if each.done():
                        each.result()
                for result in await asyncio.gather(*self.loads(slice_seconds)):
                    asked["requests"] += result["requests"]
                    asked["errors"] += sum(result["errors"].values())
                    asked["cut"] += sum(result["errors"].get(kind, 0) for kind in CUT)
                    for kind, count in result["errors"].items():
                        kinds[kind] = kinds.get(kind, 0) + count
                asked["over TLS"] += result["requests"]
        finally:
            for each in others:
                each.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        told = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
        return {**asked, "errors by kind": told or "none", **self.counts}

    def loads(self, seconds: float) -> list[Awaitable[dict[str, Any]]]:
        asks = (Request(host=HOST),)
        plain = Scenario(target=f"http://127.0.0.1:{self.made.port}", requests=asks, answered_by="X-Endpoint")
        secure = Scenario(
            target=f"https://127.0.0.1:{self.made.tls_port}", requests=asks, keep_alive=False, server_name=HOST
        )
        return [
            run(plain, Plan(duration_seconds=seconds, connections=CONNECTIONS)),
            run(secure, Plan(duration_seconds=seconds, connections=4, think_seconds=0.01)),
        ]

    async def every(self, seconds: float, name: str, change: Callable[[], None]) -> None:
        while True:
            change()
            self.counts[name] += 1
            await asyncio.sleep(seconds)

    async def endpoints(self) -> None:
        one, two = self.ports
        sets = cycle(((one,), (two,), (one, two)))
        await self.every(
            CHANGE_SECONDS, "endpoint changes", lambda: self.made.write("all.yaml", self.secret, *_shop(*next(sets)))
        )

    async def routes(self) -> None:
        names = cycle(f"new{number}.example.com" for number in range(7))
        await self.every(
            CHANGE_SECONDS,
            "route changes",
            lambda: self.made.write("new.yaml", documents.ingress("new", [next(names), HOST], paths=("/new",))),
        )

    async def certificates(self) -> None:
        def change() -> None:
            self.secret = next(self.secrets)

        await self.every(4 * CHANGE_SECONDS, "certificate changes", change)

    async def kill(self) -> None:
        while True:
            await asyncio.sleep(KILL_SECONDS)
            workers = usage.family(self.made.process.pid)[1:]
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(workers[self.counts["workers killed"] % len(workers)], signal.SIGKILL)
                self.counts["workers killed"] += 1
