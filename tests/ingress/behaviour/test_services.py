"""Which endpoints of a Service are asked, by the numbers in the inventory of behaviours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lb.cluster.objects import EndpointHints, EndpointSlice, ForNode, Metadata, Node, Object
from lb.endpoints import ZONE_LABEL
from tests.conftest import needs_root
from tests.ingress.behaviour.test_streams import free_port
from tests.ingress.peers import Endpoint, ask, endpoints
from tests.ingress.serving import Folder, Served, started
from tests.ingress.site import Site, annotated, config_map, fixture_of, several, site_of
from tests.ingress.state import endpoint_slice, service

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "a" + "b2-" * 20 + "c9"
"""As long as a name may be."""

site = fixture_of(
    annotated("ready.example", None, ("/", "Prefix", "mixed")),
    annotated("long.example", None, ("/", "Prefix", LONG)),
    sizes={"mixed": 5},
)


async def answerers(site: Site, host: str, times: int = 24) -> set[str]:
    return {(await site.get(host)).service for _ in range(times)}


async def test_203_ready_endpoints_of_every_slice(site: Site) -> None:
    states = ("", " !ready", " !ready !serving terminating", "", " !ready serving terminating")
    addresses = [f"{site.endpoints[f'mixed-{number}'].address}{state}" for number, state in enumerate(states)]

    async def asked() -> set[str]:
        return await answerers(site, "ready.example")

    site.folder.write("service-mixed", several("mixed", *addresses))
    await site.becomes(asked, {"mixed-0", "mixed-3"})
    site.folder.write("service-mixed", several("mixed", *addresses[1:3], addresses[4]))
    await site.becomes(asked, {"mixed-4"})  # nobody is ready: who ends and still serves is asked


async def test_203_a_service_with_the_longest_name(site: Site) -> None:
    assert len(LONG) == 63
    assert (await site.get("long.example")).service == LONG


# -- 204


def hinted(name: str, endpoint: Endpoint, *zones: str) -> EndpointSlice:
    """A slice of one endpoint that is meant for these zones."""
    made = endpoint_slice(name, endpoint.address, slice_name=endpoint.name)
    hints = EndpointHints(for_zones=tuple(map(ForNode, zones))) if zones else None
    assert made.endpoints
    return replace(made, endpoints=(replace(made.endpoints[0], hints=hints),))


def node(name: str, zone: str = "") -> Node:
    return Node(metadata=Metadata(name=name, labels={ZONE_LABEL: zone} if zone else {}))


@contextlib.asynccontextmanager
async def in_zones(path: Path, *flags: str, more: Iterable[Object] = ()) -> AsyncIterator[Site]:
    """Four endpoints, "web-0" to "web-3": two for zone east, one for west, one for both."""
    rule = annotated("zones.example", None, ("/", "Prefix", "web"))
    async with site_of(path, rule, *more, flags=flags, sizes={"web": 4}) as site:
        hint(site, ["east"], ["east"], ["west"], ["west", "east"])
        yield site


def hint(site: Site, *zones: list[str]) -> None:
    found = [hinted("web", site.endpoints[f"web-{number}"], *each) for number, each in enumerate(zones)]
    site.folder.write("service-web", [*service("web"), *found])


ALL = {"web-0", "web-1", "web-2", "web-3"}
TOPOLOGY = "--enable-topology-aware-routing"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        pytest.param((TOPOLOGY, "--zone", "east"), {"web-0", "web-1", "web-3"}, id="204"),
        pytest.param((TOPOLOGY, "--zone", "west"), {"web-2", "web-3"}, id="204-other-zone"),
        pytest.param((TOPOLOGY, "--zone", "south"), ALL, id="204-zone-without-endpoints"),
        pytest.param((TOPOLOGY, "--node", "here"), {"web-2", "web-3"}, id="204-by-node"),
        pytest.param((TOPOLOGY, "--node", "away"), ALL, id="204-unknown-node"),
        pytest.param(("--zone", "east"), ALL, id="204-without-the-flag"),
        pytest.param((TOPOLOGY,), ALL, id="204-nowhere"),
    ],
)
async def test_204_endpoints_of_our_zone(tmp_path: Path, flags: tuple[str, ...], wanted: set[str]) -> None:
    async with in_zones(tmp_path, *flags, more=[node("here", "west")]) as site:
        await site.becomes(lambda: answerers(site, "zones.example"), wanted)
        told = {("--node", "away"): "Node away: metadata.labels: it does not exist", (): "has no effect: give --zone"}
        if flags[0] == TOPOLOGY and flags[1:] in told:
            assert told[flags[1:]] in site.served.log


async def test_204_hints_and_labels_change_live(tmp_path: Path) -> None:
    async with in_zones(tmp_path, TOPOLOGY, "--node", "here", more=[node("here", "west")]) as site:

        async def asked() -> set[str]:
            return await answerers(site, "zones.example")

        await site.becomes(asked, {"web-2", "web-3"})
        site.folder.write("objects", [annotated("zones.example", None, ("/", "Prefix", "web")), node("here", "east")])
        await site.becomes(asked, {"web-0", "web-1", "web-3"})
        hint(site, ["east"], ["west"], [], ["west"])  # one has none: none counts
        await site.becomes(asked, ALL)
        hint(site, ["east"], ["west"], ["west"], ["west"])
        await site.becomes(asked, {"web-0"})
        site.folder.write("objects", [annotated("zones.example", None, ("/", "Prefix", "web")), node("here")])
        await site.becomes(asked, ALL)
        assert "it has no zone (label it topology.kubernetes.io/zone" in site.served.log


# -- 205


RULES = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: shop}}
spec:
  rules:
    - host: {name}.example
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {port}}}}}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{type: ExternalName, externalName: {external}{ports}}}
"""


def external(folder: Folder, name: str, target: str, port: str, ports: str = "") -> None:
    text = RULES.format(name=name, port=port, external=target, ports=f", ports: [{ports}]" if ports else "")
    folder.write_text(name, text)


@contextlib.asynccontextmanager
async def named(tmp_path: Path, hosts: str, *more: str) -> AsyncIterator[tuple[Served, Folder]]:
    """With a hosts file of its own, mounted over the machine's in the process's mount namespace."""
    (tmp_path / "hosts").write_text(hosts)
    folder = Folder(tmp_path / "manifests")
    command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(tmp_path / "hosts")]
    flags = ["serve", "-f", str(folder.path), "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"]
    async with started(*flags, *more, launcher=command) as served:
        await served.ready()
        yield served, folder


async def twins() -> tuple[Endpoint, list[asyncio.Server]]:
    """Two endpoints, "one" and "two", on two addresses and one port; the first of them."""
    one, two = Endpoint("one"), Endpoint("two")
    while True:
        first = await asyncio.start_server(one.serve, "127.0.0.1", 0)
        one.port = two.port = first.sockets[0].getsockname()[1]
        try:
            return one, [first, await asyncio.start_server(two.serve, "127.0.0.3", two.port)]
        except OSError:
            first.close()


@needs_root
async def test_205_services_that_stand_for_names(tmp_path: Path) -> None:
    one, servers = await twins()
    async with contextlib.AsyncExitStack() as stack:
        for each in servers:
            await stack.enter_async_context(each)
        hosts = "127.0.0.1 one.backend.test\n127.0.0.3 two.backend.test\n"
        served, folder = await stack.enter_async_context(named(tmp_path, hosts))
        port = f"port: {one.port}"
        external(folder, "bare", "one.backend.test", f"{{number: {one.port}}}")
        external(folder, "declared", "two.backend.test", f"{{number: {one.port}}}", f"{{{port}}}")
        external(folder, "by-name", "one.backend.test", "{name: api}", f"{{name: api, {port}}}")
        external(folder, "target", "two.backend.test", "{number: 7}", f"{{port: 7, targetPort: {one.port}}}")
        external(folder, "dotted", "Two.Backend.test.", f"{{number: {one.port}}}")
        external(folder, "unknown", "nobody.backend.test", f"{{number: {one.port}}}")
        wanted = {"bare": "one", "declared": "two", "by-name": "one", "target": "two", "dotted": "two"}
        for name, answerer in wanted.items():
            answer = await served.until_answer(f"{name}.example", "/", lambda answer: answer.status == 200)
            assert answer.service == answerer, name
        assert (await ask(served.http, "unknown.example")).status == 503
        external(folder, "bare", "two.backend.test", f"{{number: {one.port}}}")
        await served.until_answer("bare.example", "/", lambda answer: b'"two"' in answer.body)
        kept = (folder.path / "bare.yaml").read_text().partition("---")[0]
        folder.write_text("bare", kept)
        await served.until_answer("bare.example", "/", lambda answer: answer.status == 503)
        await served.until(lambda: "has externalName nobody.backend.test: it cannot be looked up" in served.log)


@needs_root
async def test_209_names_behind_ports(tmp_path: Path) -> None:
    one, servers = await twins()
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        for each in servers:
            await stack.enter_async_context(each)
        hosts = "127.0.0.1 one.backend.test\n127.0.0.3 two.backend.test\n"
        flags = ("--tcp-services-configmap", "ops/tcp")
        served, folder = await stack.enter_async_context(named(tmp_path, hosts, *flags))
        folder.write("tcp", [config_map("ops", "tcp", {str(port): f"shop/web:{one.port}"})])

        async def answerer() -> str:
            try:
                return (await ask(port, "any.example")).service
            except ConnectionError:
                return ""

        for target, wanted in (("one.backend.test", "one"), ("two.backend.test", "two")):
            external(folder, "web", target, f"{{number: {one.port}}}")
            async with asyncio.timeout(20):
                while True:
                    if await answerer() == wanted:
                        break
                    await asyncio.sleep(0.02)
        assert await served.end() == 0


async def test_206_this_machine_has_no_name(tmp_path: Path) -> None:
    names = ("localhost", "LOCALHOST.", "ip6-localhost", "a.localhost", "127.0.0.1")
    async with endpoints("here") as (here,):
        folder = Folder(tmp_path)
        for number, name in enumerate(names):
            external(folder, f"web-{number}", f"'{name}'", f"{{number: {here.port}}}")
        flags = ("serve", "-f", str(tmp_path), "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1")
        async with started(*flags) as served:
            await served.ready()
            for number, name in enumerate(names):
                assert (await ask(served.http, f"web-{number}.example")).status == 503
                assert f"has externalName {name.lower().rstrip('.')}: " in served.log
        assert here.requests == 0
