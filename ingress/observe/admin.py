"""The admin endpoint (--admin): health, readiness, metrics and the live routes, in the supervisor process."""

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ingress.observe.metrics import exposition
from ingress.proxy.counted import EndpointSeen
from ingress.routes.compile import RoutingTable

if TYPE_CHECKING:
    from ingress.run import Proxy


COUNTED = ("open", "idle", "requests", "failures")
"""What the engine says of an endpoint: connections now, attempts since the worker started."""

PIECE_BYTES = 1 << 16
SHUTDOWN_SECONDS = 1.0
"""What a request under way here gets at the end: nobody's traffic waits for a scrape."""


class AdminEndpoint:
    """Answers on one listening socket; takes nothing but GET and changes nothing."""

    def __init__(self, proxy: "Proxy", listening: socket.socket) -> None:
        self.proxy = proxy
        self.listening = listening

    async def run(self) -> None:
        """Serve until cancelled."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        try:
            await web.SockSite(runner, self.listening).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def application(self) -> web.Application:
        application = web.Application()
        for path, answer in (
            *([] if self.proxy.plan.health_path == "/healthz" else [("/healthz", self.healthz)]),
            ("/readyz", self.readyz),
            ("/metrics", self.metrics),
            ("/routes", self.routes),
            ("/endpoints", self.endpoints),
        ):
            application.router.add_get(path, answer)
        if self.proxy.plan.health_path:
            application.router.add_get(self.proxy.plan.health_path, self.health)
        return application

    async def healthz(self, _request: web.Request) -> web.Response:
        """The supervisor's loop turns."""
        return web.Response(text="ok\n")

    async def health(self, _request: web.Request) -> web.Response:
        """As ingress-nginx answers: 500 as long as requests should not be sent here."""
        reason = self.proxy.not_ready
        return web.Response(status=500 if reason else 200, text=f"{reason or 'ok'}\n")

    async def readyz(self, _request: web.Request) -> web.Response:
        """Send requests here, or why not."""
        reason = self.proxy.not_ready
        if reason:
            return web.Response(status=503, text=f"{reason}\n")
        trouble = self.proxy.supervisor.trouble
        return web.Response(text=f"ok\n{trouble}\n" if trouble else "ok\n")

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        """Prometheus text format. Changes, signs of life and other answers go on meanwhile."""
        await self.proxy.refresh_stats()
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPE_LATEST})
        await response.prepare(request)
        text = bytearray()
        for piece in exposition(self.proxy):
            text += piece
            if len(text) >= PIECE_BYTES:
                await response.write(bytes(text))
                text.clear()
            await asyncio.sleep(0)
        await response.write_eof(bytes(text))
        return response

    async def routes(self, _request: web.Request) -> web.Response:
        """The live tables as JSON."""
        problems = [*self.proxy.plan.source.problems, *self.proxy.table.problems]
        answer = {"routes": describe_routes(self.proxy.table), "problems": [msgspec.to_builtins(p) for p in problems]}
        return _json(answer)

    async def endpoints(self, _request: web.Request) -> web.Response:
        """Every endpoint as JSON, with what the workers that run now have seen of it."""
        seen = await self.proxy.supervisor.seen_endpoints()
        return _json({"endpoints": describe_endpoints(self.proxy.table, seen)})


def _json(answer: object) -> web.Response:
    body = msgspec.json.format(msgspec.json.encode(answer)) + b"\n"
    return web.Response(body=body, content_type="application/json")


def describe_routes(table: RoutingTable) -> list[dict[str, object]]:
    """Every route with where it comes from and where it leads to, by host; "*" stands for every other host."""
    return [
        {
            "host": route.host or "*",
            "path": route.path,
            "type": route.kind,
            "ingress": route.ingress,
            "field": route.field,
            "backend": route.backend,
            "filters": [name for name, _ in route.filters],
            "endpoints": [_shown(*endpoint) for endpoint in table.backends[route.backend].endpoints],
            "state": table.backends[route.backend].state,
        }
        for host in sorted(table.hosts)
        for route in table.hosts[host].routes
    ]


def describe_endpoints(table: RoutingTable, seen: Sequence[Sequence[EndpointSeen]]) -> list[dict[str, object]]:
    """Every endpoint with the backends it answers for; seen: by worker, what its engine says of each.

    An endpoint that is being left keeps its line, without backends, until its last connection is closed.
    """
    backends: dict[str, list[str]] = {}
    for key in sorted(table.backends):
        for endpoint in table.backends[key].endpoints:
            backends.setdefault(_shown(*endpoint), []).append(key)
    rows: dict[str, list[EndpointSeen]] = {address: [] for address in backends}
    ejecting: dict[str, set[int]] = {}
    for worker, each in enumerate(seen):
        for row in each:
            rows.setdefault(row.address, []).append(row)
            if row.ejected:
                ejecting.setdefault(row.address, set()).add(worker)
    return [
        {
            "address": address,
            "backends": backends.get(address, []),
            **{name: sum(getattr(row, name) for row in rows[address]) for name in COUNTED},
            "ejected_by_workers": len(ejecting.get(address, ())),
        }
        for address in sorted(rows)
    ]


def _shown(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
