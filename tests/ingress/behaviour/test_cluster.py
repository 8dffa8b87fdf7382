"""What only an API server can be asked for: classes, namespaces, rights, statuses; by the numbers of the inventory."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.ingress.peers import Answer, Endpoint, ask
from tests.ingress.serving import Served, started
from tests.ingress.site import ANYBODY
from tests.lb.cluster.conftest import RealApi

NAMESPACE = f"behaviour-{os.getpid()}"
CLASS = "kubernetes.io/ingress.class"
CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"


class Cluster:
    """Objects in the API server, taken away again at the end."""

    def __init__(self, api: RealApi) -> None:
        self.api = api
        self.made: dict[str, None] = {}

    async def put(self, path: str, name: str, content: dict[str, Any], **metadata: Any) -> None:
        """Create or replace; path: of the kind."""
        content = {**content, "metadata": {"name": name, **metadata}}
        if f"{path}/{name}" in self.made:
            await self.api.request("PUT", f"{path}/{name}", content)
        else:
            await self.api.request("POST", path, content)
            self.made[f"{path}/{name}"] = None

    async def remove(self, path: str) -> None:
        del self.made[path]
        await self.api.request("DELETE", path)

    async def close(self) -> None:
        for path in reversed(list(self.made)):
            await self.api.request("DELETE", path)

    async def namespace(self, name: str, **labels: str) -> None:
        await self.put("/api/v1/namespaces", name, {}, labels=labels)

    async def class_(self, name: str, controller: str) -> None:
        await self.put(CLASSES, name, {"spec": {"controller": controller}})

    async def ingress(
        self,
        name: str,
        *,
        cls: str | None = None,
        annotations: dict[str, str] | None = None,
        namespace: str = NAMESPACE,
        host: str | None = None,
    ) -> None:
        """For "NAME.example", to the Service web; host: another one, "" for every host. cls: ingressClassName."""
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        rule: dict[str, Any] = {"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        if host != "":
            rule["host"] = host or f"{name}.example"
        spec = {"rules": [rule], **({"ingressClassName": cls} if cls else {})}
        await self.put(ingresses(namespace), name, {"spec": spec}, annotations=annotations or {})

    async def web(self, endpoint: Endpoint, namespace: str = NAMESPACE) -> None:
        await self.put(f"/api/v1/namespaces/{namespace}/services", "web", {"spec": {"ports": [{"port": 80}]}})
        found = {
            "addressType": "IPv4",
            "endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}],
            "ports": [{"port": endpoint.port}],
        }
        labels = {"kubernetes.io/service-name": "web"}
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        await self.put(path, "web-1", found, labels=labels)


def ingresses(namespace: str = NAMESPACE) -> str:
    return f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses"


def own_address() -> str:
    """One that an API server takes for an endpoint's: not of loopback. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        return str(probe.getsockname()[0])


@pytest.fixture
async def cluster(real_api: RealApi) -> AsyncIterator[Cluster]:
    """With a Service "web" whose endpoint answers."""
    made = Cluster(real_api)
    endpoint = Endpoint("web")
    server = await asyncio.start_server(endpoint.serve, own_address(), 0)
    endpoint.port = server.sockets[0].getsockname()[1]
    async with server:
        with contextlib.suppress(AssertionError):  # it is there since the test before
            await real_api.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        try:
            await made.web(endpoint)
            yield made
        finally:
            await made.close()


@contextlib.asynccontextmanager
async def controller(api: RealApi, *flags: str, token: str = "", ready: bool = True) -> AsyncIterator[Served]:
    config = api.kubeconfig({"token": token or api.admin})
    argv = ["ingress", "--kubeconfig", str(config), "--workers", "1", "--http", "127.0.0.1:0"]
    argv += ["--admin", "127.0.0.1:0", "--drain-delay", "0", "--lease-namespace", "default"]
    async with started(*argv, *flags) as served:
        if ready:
            await served.ready()
        yield served


async def becomes(served: Served, host: str, status: int) -> Answer:
    return await served.until_answer(host, "/", lambda answer: answer.status == status)


async def test_246_whose_ingress_it_is(cluster: Cluster) -> None:
    await cluster.class_("nginx", "k8s.io/ingress-nginx")
    await cluster.class_("own", "causeway.dev/ingress-controller")
    await cluster.class_("other", "example.com/other")
    await cluster.ingress("by-field", cls="nginx")
    await cluster.ingress("by-own-field", cls="own")
    await cluster.ingress("by-annotation", annotations={CLASS: "nginx"})
    await cluster.ingress("other-field", cls="other")
    await cluster.ingress("missing-class", cls="nobody")
    await cluster.ingress("other-annotation", annotations={CLASS: "traefik"})
    await cluster.ingress("classless")
    await cluster.ingress("moving", annotations={CLASS: "traefik"})
    async with controller(cluster.api) as served:
        for host in ("by-field", "by-own-field", "by-annotation"):
            assert (await ask(served.http, f"{host}.example")).status == 200, host
        for host in ("other-field", "missing-class", "other-annotation", "classless", "moving"):
            assert (await ask(served.http, f"{host}.example")).status == 404, host
        await cluster.ingress("moving", annotations={CLASS: "nginx"})
        await becomes(served, "moving.example", 200)
        await cluster.ingress("moving")
        await becomes(served, "moving.example", 404)
        await cluster.ingress("moving", cls="own")
        await becomes(served, "moving.example", 200)
        await cluster.ingress("moving", cls="other")
        await becomes(served, "moving.example", 404)
        await cluster.class_("nobody", "k8s.io/ingress-nginx")
        await becomes(served, "missing-class.example", 200)
        await cluster.remove(f"{CLASSES}/nobody")
        await becomes(served, "missing-class.example", 404)


async def test_247_classes_by_flags(cluster: Cluster) -> None:
    await cluster.class_("mine", "example.com/mine")
    await cluster.class_("nginx", "k8s.io/ingress-nginx")
    await cluster.class_("named", "example.com/whatever")
    await cluster.ingress("classless")
    for name in ("mine", "nginx", "named"):
        await cluster.ingress(name, cls=name)
    flags = ("--watch-ingress-without-class", "--controller-class=example.com/mine", "--ingress-class-by-name")
    async with controller(cluster.api, *flags, "--ingress-class=named") as served:
        for host in ("classless", "mine", "named"):
            assert (await ask(served.http, f"{host}.example")).status == 200, host
        assert (await ask(served.http, "nginx.example")).status == 404


ROLES = "/apis/rbac.authorization.k8s.io/v1"
RIGHTS = [
    {"apiGroups": [""], "resources": ["services", "secrets", "configmaps"], "verbs": ["list", "watch"]},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": ["list", "watch"]},
]
"""What a Role can grant: IngressClasses are outside namespaces."""


async def test_247_classes_that_must_not_be_read(cluster: Cluster) -> None:
    await cluster.class_("nginx", "k8s.io/ingress-nginx")
    await cluster.ingress("by-field", cls="nginx")
    await cluster.ingress("by-annotation", annotations={CLASS: "nginx"})
    scope = f"{ROLES}/namespaces/{NAMESPACE}"
    await cluster.put(f"{scope}/roles", "served", {"rules": RIGHTS})
    bound = {"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "served"}
    await cluster.put(f"{scope}/rolebindings", "served", {"roleRef": role, "subjects": [bound]})
    flags = (f"--watch-namespace={NAMESPACE}",)
    async with controller(cluster.api, *flags, token=cluster.api.nobody) as served:
        assert (await ask(served.http, "by-annotation.example")).status == 200
        assert (await ask(served.http, "by-field.example")).status == 404
        assert "API server: ingressclasses: " in served.log
        assert "everything else works without it" in served.log
        rights = {"apiGroups": ["networking.k8s.io"], "resources": ["ingressclasses"], "verbs": ["list", "watch"]}
        await cluster.put(f"{ROLES}/clusterroles", NAMESPACE, {"rules": [rights]})
        role = {**role, "kind": "ClusterRole", "name": NAMESPACE}
        await cluster.put(f"{ROLES}/clusterrolebindings", NAMESPACE, {"roleRef": role, "subjects": [bound]})
        await served.until_answer("by-field.example", "/", lambda answer: answer.status == 200, seconds=60)


async def test_248_namespaces_by_their_labels(cluster: Cluster) -> None:
    labelled, plain = f"{NAMESPACE}-labelled", f"{NAMESPACE}-plain"
    await cluster.namespace(labelled, team="shop", tier="test")
    await cluster.namespace(plain)
    for namespace in (labelled, plain):
        await cluster.ingress("a", namespace=namespace, annotations={CLASS: "nginx"}, host=f"{namespace}.example")
    async with controller(cluster.api, "--watch-namespace-selector", "team in (shop, cart),tier!=live") as served:
        assert (await ask(served.http, f"{labelled}.example")).status == 503  # it is served, without a Service
        assert (await ask(served.http, f"{plain}.example")).status == 404
        await cluster.namespace(plain, team="cart")
        await becomes(served, f"{plain}.example", 503)
        await cluster.namespace(labelled, team="shop", tier="live")
        await becomes(served, f"{labelled}.example", 404)


async def test_249_no_ingress_for_every_host(cluster: Cluster) -> None:
    await cluster.ingress("every", annotations={CLASS: "nginx"}, host="")
    default = {"spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}
    await cluster.put(ingresses(), "default", default, annotations={CLASS: "nginx"})
    await cluster.ingress("one", annotations={CLASS: "nginx"})
    async with controller(cluster.api) as served:
        assert (await ask(served.http, "any.example")).status == 200
    async with controller(cluster.api, "--disable-catch-all") as served:
        assert (await ask(served.http, "one.example")).status == 200
        assert (await ask(served.http, "any.example")).status == 404


async def test_206_services_that_stand_for_names_are_left_out(cluster: Cluster) -> None:
    await cluster.ingress("names", annotations={CLASS: "nginx"})
    path = f"/api/v1/namespaces/{NAMESPACE}/services"
    await cluster.remove(f"{path}/web")
    spec = {"type": "ExternalName", "externalName": "backend.example", "ports": [{"port": 80}]}
    await cluster.put(path, "web", {"spec": spec})
    async with controller(cluster.api, "--disable-svc-external-name") as served:
        assert (await ask(served.http, "names.example")).status == 503
        assert "stands for a DNS name, which is not served" in served.log


async def test_204_the_zone_of_our_node(cluster: Cluster) -> None:
    """Every endpoint is meant for another zone than ours, or for ours."""
    nodes = "/api/v1/nodes"
    await cluster.put(nodes, "worker-7", {}, labels={"topology.kubernetes.io/zone": "east"})
    await cluster.put(nodes, "worker-8", {}, labels={"topology.kubernetes.io/zone": "west"})
    await cluster.ingress("near", annotations={CLASS: "nginx"})
    path = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    found = await cluster.api.request("GET", f"{path}/web-1")
    far = {**found["endpoints"][0], "addresses": ["192.0.2.77"], "hints": {"forZones": [{"name": "west"}]}}
    near = {**found["endpoints"][0], "hints": {"forZones": [{"name": "east"}]}}
    spec = {"addressType": "IPv4", "ports": found["ports"], "endpoints": [near, far]}
    await cluster.put(path, "web-1", spec, labels={"kubernetes.io/service-name": "web"})
    async with controller(cluster.api, "--enable-topology-aware-routing", "--node", "worker-7") as served:
        for _ in range(4):
            assert (await ask(served.http, "near.example")).status == 200
        told = (await served.ask_admin("/endpoints")).body.decode()
        assert "192.0.2.77" not in told
        await cluster.put(nodes, "worker-7", {}, labels={"topology.kubernetes.io/zone": "south"})
        await served.until(lambda: "2 of 2 endpoints ready" in served.log)


async def test_219_ports_that_endpoints_are_told(cluster: Cluster) -> None:
    """With --http-port it is this one; with TLS it is 443, whatever --https-port says."""
    await cluster.ingress("ports", annotations={CLASS: "nginx"})
    flags = ["/nginx-ingress-controller", f"--kubeconfig={cluster.api.kubeconfig({'token': cluster.api.admin})}"]
    flags += ["--http-port=0", "--https-port=0", "--healthz-port=0", "--healthz-host=127.0.0.1"]
    async with started("ingress", *flags, "--shutdown-grace-period=0", "--election-id=ports") as served:
        await served.ready()
        headers = (await ask(served.http, "ports.example")).echo["headers"]
        assert (headers["x-forwarded-port"], headers["x-forwarded-proto"]) == (str(served.http), "http")
        answer = await ask(served.https, "ports.example", tls=ANYBODY, name="ports.example")
        headers = answer.echo["headers"]
        assert (headers["x-forwarded-port"], headers["x-forwarded-proto"]) == ("443", "https")


class Wire:
    """Between the controller and the API server: it can be cut and mended."""

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = 0
        self.server: asyncio.Server | None = None
        self.ends: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self.server is not None
        self.server.close()
        for each in self.ends:
            each.transport.abort()
        await self.server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, away = await asyncio.open_connection("127.0.0.1", self.to)
        self.ends |= {writer, away}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while octets := await source.read(65536):
                    sink.write(octets)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, away), pump(there, writer))
        self.ends -= {writer, away}


async def test_256_the_api_server_is_away_and_comes_back(cluster: Cluster) -> None:
    await cluster.ingress("status", annotations={CLASS: "nginx"})
    path = f"{ingresses()}/status/status"

    async def until_published() -> None:
        async with asyncio.timeout(60):
            while True:
                found = (await cluster.api.request("GET", path))["status"]["loadBalancer"].get("ingress", ())
                if [each["ip"] for each in found] == ["192.0.2.200"]:
                    return
                await asyncio.sleep(0.1)

    wire = Wire(cluster.api.port)
    await wire.mend()
    config = cluster.api.kubeconfig({"token": cluster.api.admin})
    config.write_text(config.read_text().replace(f":{cluster.api.port}", f":{wire.port}"))
    argv = ["ingress", "--kubeconfig", str(config), "--workers", "1", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    argv += ["--drain-delay", "0", "--lease-namespace", "default", "--election-id", "away"]
    async with started(*argv, "--publish-status-address", "192.0.2.200") as served:
        await served.ready()
        await until_published()
        await wire.cut()
        await served.until(lambda: "does not answer" in served.log)
        found = await cluster.api.request("GET", path)
        await cluster.api.request("PUT", path, {**found, "status": {"loadBalancer": {}}})
        await cluster.ingress("late", annotations={CLASS: "nginx"})
        for _ in range(20):
            assert (await ask(served.http, "status.example")).status == 200
        assert (await ask(served.http, "late.example")).status == 404
        assert (await served.ask_admin("/readyz")).status == 200
        await wire.mend()
        await becomes(served, "late.example", 200)
        await until_published()
        assert await served.end() == 0
    await wire.cut()


async def test_256_without_election_routing_goes_on(cluster: Cluster) -> None:
    """Who must not have the Lease writes no statuses, and serves."""
    await cluster.ingress("routing", annotations={CLASS: "nginx"})
    async with controller(cluster.api, "--disable-leader-election", "--update-status=false") as served:
        assert (await ask(served.http, "routing.example")).status == 200
        assert "--disable-leader-election has no effect" in served.log
