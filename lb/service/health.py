"""The HTTP server on a Service's healthCheckNodePort: a load balancer outside asks which nodes have local endpoints.

Answers any request with 200 if this node has a ready endpoint of the Service and 503 if not, as kube-proxy does; the
body is JSON. Served at the node's NodePort addresses.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable

from lb.cluster.objects import Key, Service
from lb.cluster.store import ObjectStore
from lb.endpoints import port_endpoints
from lb.service.vips import NodeFacts, is_ours, our_slices

log = logging.getLogger(__name__)

_REQUEST_SECONDS_MAX = 5.0
_REQUEST_BYTES_MAX = 8192

Place = tuple[str, int]


def health_port(service: Service | None) -> int:
    """Its healthCheckNodePort if that means something, which is with type LoadBalancer and the Local policy; or 0."""
    if service is None or not is_ours(service):
        return 0
    spec = service.spec
    local = spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"
    return spec.health_check_node_port if local else 0


def local_ready(store: ObjectStore, key: Key, facts: NodeFacts) -> int:
    """How many ready endpoints of the Service run here, each address once; a terminating one is not ready."""
    service = store.get(Service, key.namespace, key.name)
    if service is None:
        return 0
    slices = our_slices(store.slices_of(key.namespace, key.name))
    found = {
        endpoint.address
        for port in service.spec.ports
        for endpoint in port_endpoints(service, port, slices, here=facts.here).local
        if endpoint.ready and not endpoint.terminating
    }
    return len(found)


def answer(key: Key, ready: int) -> bytes:
    """The whole HTTP/1.1 response."""
    body = json.dumps(
        {
            "service": {"namespace": key.namespace, "name": key.name},
            "localEndpoints": ready,
            "serviceProxyHealthy": True,
        }
    ).encode()
    status = b"200 OK" if ready else b"503 Service Unavailable"
    return (
        b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
        b"Connection: close\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    )


class HealthServers:
    """One listening socket per node address and healthCheckNodePort."""

    def __init__(self) -> None:
        self._servers: dict[Place, asyncio.Server] = {}
        self._ports: dict[Key, int] = {}
        self._wanted: dict[Place, Key] = {}
        self._failed: set[Place] = set()
        self._store: ObjectStore | None = None
        self._facts: NodeFacts | None = None

    async def serve(self, store: ObjectStore, facts: NodeFacts, changed: Iterable[Key] | None) -> None:
        """Listen where the Services want it now and nowhere else. changed: keys to look at; None: all of them."""
        self._store = store
        if changed is None or facts != self._facts:
            self._facts, self._ports, changed = facts, {}, store.keys(Service.KIND)
        for key in changed:
            self._ports.pop(key, None)
            port = health_port(store.get(Service, key.namespace, key.name)) if key.kind == Service.KIND else 0
            if port:
                self._ports[key] = port
        self._wanted = {(str(address), port): key for key, port in self._ports.items() for address in facts.addresses}
        for place in self._servers.keys() - self._wanted.keys():
            self._servers.pop(place).close()
        for place in self._wanted.keys() - self._servers.keys():
            await self._listen(place)

    async def close(self) -> None:
        self._wanted = {}
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    async def _listen(self, place: Place) -> None:
        async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._answer(place, reader, writer)

        try:
            self._servers[place] = await asyncio.start_server(answered, *place, limit=_REQUEST_BYTES_MAX)
            self._failed.discard(place)
        except OSError as error:
            if place not in self._failed:
                log.warning(
                    "%s: cannot serve healthCheckNodePort at %s port %d: %s", self._wanted[place], *place, error
                )
            self._failed.add(place)

    async def _answer(self, place: Place, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                await reader.readuntil(b"\r\n\r\n")
                key = self._wanted.get(place)
                if key is not None and self._store is not None and self._facts is not None:
                    writer.write(answer(key, local_ready(self._store, key, self._facts)))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
