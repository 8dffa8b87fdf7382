"""Where we can be reached, in the status of the Ingresses we serve."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingress.listeners import BadAddress
from ingress.publish import StatusPublisher, addresses_of, read_service, status_of
from ingress.replicas import LeaseReplicas
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from lb.cluster.connection import Connection, from_kubeconfig
from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import Ingress, IngressStatus, Key, Service, decode
from lb.cluster.status import FolderStatus, StatusFailed
from lb.cluster.store import ObjectStore
from tests.ingress.serving import Folder, serving, started
from tests.ingress.state import ingress
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.waiting import running, until


@pytest.mark.parametrize(
    ("addresses", "want"),
    [
        ([], []),
        (["10.0.0.1"], [("10.0.0.1", "")]),
        (["lb.example", "10.0.0.2", "10.0.0.1", "10.0.0.2"], [("10.0.0.1", ""), ("10.0.0.2", ""), ("", "lb.example")]),
        (["fd00::1"], [("fd00::1", "")]),
    ],
)
def test_status(addresses: list[str], want: list[tuple[str, str]]) -> None:
    assert [(each.ip, each.hostname) for each in status_of(addresses).load_balancer.ingress] == want


class Counting(FolderStatus):
    """Writes for real, and counts."""

    def __init__(self, folder: Path, fail: int = 0) -> None:
        super().__init__(folder)
        self.written: list[str] = []
        self.fail = fail

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        self.written.append(key.name)
        if self.fail:
            self.fail -= 1
            raise StatusFailed("not now")
        await super().write_ingress(key, status)


async def test_only_ours_and_only_when_different(tmp_path: Path) -> None:
    folder, store = Folder(tmp_path), ObjectStore()
    nginx = {"kubernetes.io/ingress.class": "nginx"}
    ours, other = ingress("ours", default="x", annotations=nginx), ingress("other", default="x")
    folder.write("all", [ours, other])
    source, writer = ManifestFolder(tmp_path, store), Counting(tmp_path)
    table = RoutingTable(store, Selection())

    def addresses(name: str) -> list[str]:
        found = store.get(Ingress, "shop", name)
        return [each.ip for each in found.status.load_balancer.ingress] if found else []

    async with running(source.run()), running(StatusPublisher(writer, ["10.0.0.1"]).run(table, source.synced)):
        await until(lambda: addresses("ours") == ["10.0.0.1"], "our Ingress has a status")
        # The status that came back is a change of the Ingress, and nothing to write.
        folder.write("all", [ingress("ours", default="y", annotations=nginx), other])
        await until(lambda: "y" in str(store.get(Ingress, "shop", "ours")), "the change is read")
        folder.write("more", [ingress("new", default="x", annotations=nginx)])
        await until(lambda: addresses("new") == ["10.0.0.1"], "a new Ingress has a status")
        assert addresses("other") == []
        assert writer.written == ["ours", "new"]


async def test_a_write_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.publish.RETRY_SECONDS", 0.01)
    folder, store = Folder(tmp_path), ObjectStore()
    folder.write("all", [ingress("ours", default="x", annotations={"kubernetes.io/ingress.class": "nginx"})])
    source, writer = ManifestFolder(tmp_path, store), Counting(tmp_path, fail=2)
    table, synced = RoutingTable(store, Selection()), asyncio.Event()
    synced.set()
    source.load()
    async with running(StatusPublisher(writer, ["10.0.0.1"]).run(table, synced)):
        await until(lambda: list((tmp_path / ".status").glob("*.yaml")), "it is written")
    assert writer.written == ["ours"] * 3


def lb_service(kind: str, *, given: Sequence[dict[str, str]] = (), **spec: Any) -> Service:
    made = decode(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "lb", "namespace": "edge"},
            "spec": {"type": kind, "ports": [{"port": 80}], **spec},
            "status": {"loadBalancer": {"ingress": list(given)}},
        }
    )
    assert isinstance(made, Service)
    return made


@pytest.mark.parametrize(
    ("found", "want"),
    [
        (
            lb_service("LoadBalancer", given=[{"ip": "192.0.2.1"}, {"hostname": "a.example"}]),
            ["192.0.2.1", "a.example"],
        ),
        (
            lb_service("LoadBalancer", given=[{"ip": "192.0.2.1"}], externalIPs=["192.0.2.9"]),
            ["192.0.2.1", "192.0.2.9"],
        ),
        (lb_service("LoadBalancer", clusterIP="10.96.0.1"), []),
        (lb_service("ClusterIP", clusterIP="10.96.0.1"), ["10.96.0.1"]),
        (lb_service("ClusterIP", clusterIP="None"), []),
        (lb_service("NodePort", clusterIP="10.96.0.1"), ["10.96.0.1"]),
        (lb_service("NodePort", clusterIP="10.96.0.1", externalIPs=["192.0.2.9"]), ["192.0.2.9"]),
        (lb_service("ExternalName", externalName="lb.example"), ["lb.example"]),
    ],
)
def test_addresses_of_a_service(found: Service, want: list[str]) -> None:
    assert list(addresses_of(found)) == want


@pytest.mark.parametrize("text", ["lb", "/lb", "edge/", "edge/lb/x", "Edge/lb"])
def test_what_is_no_service(text: str) -> None:
    with pytest.raises(BadAddress, match="NAMESPACE/NAME"):
        read_service(text)


class Statuses:
    """The status files of a folder, as they are now."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, name: str) -> list[str]:
        try:
            document = yaml.safe_load((self.path / ".status" / f"Ingress.shop.{name}.yaml").read_text())
        except FileNotFoundError:
            return []
        found = document["status"]["loadBalancer"].get("ingress") or ()
        return [each.get("ip") or each["hostname"] for each in found]


FLAGS = ("--workers", "1", "--publish-service", "edge/lb")


async def test_the_status_follows_a_service_and_goes_with_the_last_replica(tmp_path: Path) -> None:
    folder, statuses = Folder(tmp_path), Statuses(tmp_path)
    folder.write("web", [ingress("web", default="x")])
    flags = ("-f", str(tmp_path), *FLAGS, "--publish-status-address", "z.example")
    async with serving(*flags) as one, serving(*flags) as two:
        await one.until(lambda: "Service edge/lb: it does not exist" in one.log)
        assert statuses("web") == []
        folder.write("lb", [lb_service("LoadBalancer")])
        await one.until(lambda: statuses("web") == ["z.example"])
        await FolderStatus(tmp_path).write_service(
            Key("Service", "edge", "lb"), lb_service("", given=[{"ip": "192.0.2.2"}]).status
        )
        await one.until(lambda: statuses("web") == ["192.0.2.2", "z.example"])
        await FolderStatus(tmp_path).write_service(
            Key("Service", "edge", "lb"), lb_service("", given=[{"ip": "192.0.2.1"}]).status
        )
        await one.until(lambda: statuses("web") == ["192.0.2.1", "z.example"])
        folder.write("more", [ingress("more", {"m.example": [("/", "Prefix", "x")]})])
        await one.until(lambda: statuses("more") == ["192.0.2.1", "z.example"])
        folder.remove("more")
        await one.until(lambda: not (tmp_path / ".status" / "Ingress.shop.more.yaml").exists())
        assert await one.end() == 0
        assert statuses("web") == ["192.0.2.1", "z.example"], "another replica is there"
        assert await two.end() == 0
        assert statuses("web") == []


async def test_the_status_may_stay(tmp_path: Path) -> None:
    folder, statuses = Folder(tmp_path), Statuses(tmp_path)
    folder.write("web", [ingress("web", default="x"), lb_service("ClusterIP", clusterIP="10.96.0.7")])
    async with serving("-f", str(tmp_path), *FLAGS, "--update-status-on-shutdown=false") as running_one:
        await running_one.until(lambda: statuses("web") == ["10.96.0.7"])
        assert await running_one.end() == 0
        assert statuses("web") == ["10.96.0.7"]


INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
SERVICES = "/api/v1/namespaces/default/services"


async def test_replicas_at_an_api_server_take_turns(real_api: RealApi) -> None:
    spec = {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}
    annotations = {"kubernetes.io/ingress.class": "causeway"}
    metadata = {"name": "published", "annotations": annotations}
    await real_api.request("POST", INGRESSES, {"metadata": metadata, "spec": spec})
    found = {"type": "ExternalName", "externalName": "a.example"}
    made = await real_api.request("POST", SERVICES, {"metadata": {"name": "edge"}, "spec": found})

    async def published() -> list[str]:
        found = await real_api.request("GET", f"{INGRESSES}/published")
        return [each.get("ip") or each["hostname"] for each in found["status"]["loadBalancer"].get("ingress", ())]

    async def until_published(*names: str) -> None:
        async with asyncio.timeout(20):
            while True:
                if await published() == list(names):
                    return
                await asyncio.sleep(0.1)

    flags = ["ingress", "--kubeconfig", str(real_api.kubeconfig({"token": real_api.admin})), "--workers", "1"]
    flags += ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-delay", "0"]
    flags += ["--publish-service", "default/edge", "--lease-namespace", "default", "--election-id", "publish-test"]
    try:
        async with started(*flags) as one:
            await one.ready()
            await until_published("a.example")
            async with started(*flags) as two:
                await two.ready()
                made["spec"]["externalName"] = "b.example"
                await real_api.request("PUT", f"{SERVICES}/edge", made)
                await until_published("b.example")
                assert "leading" in one.log
                assert "leading" not in two.log
                assert await one.end() == 0
                assert "another replica goes on" in one.log
                assert "leading" in two.log
                assert await published() == ["b.example"]
                assert await two.end() == 0
                assert "the status of 1 Ingresses is taken back" in two.log
                assert await published() == []
    finally:
        await real_api.request("DELETE", f"{INGRESSES}/published")
        await real_api.request("DELETE", f"{SERVICES}/edge")


async def test_the_last_replica_is_given_the_time_it_needs(real_api: RealApi) -> None:
    """Thousands of statuses are not cleared in the time that tells whether others want the Lease."""
    connection = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.admin})))
    replicas = LeaseReplicas(connection, "default", "slow-test")
    replicas._turn_seconds = 0.5
    led, cleared = asyncio.Event(), []

    async def clear() -> None:
        await asyncio.sleep(1.5)
        cleared.append("all")

    async def lead() -> None:
        led.set()
        await asyncio.Event().wait()

    try:
        async with running(replicas.while_leading(lead)):
            await until(led.is_set, "it leads")
        assert await replicas.while_last(clear)
        assert cleared == ["all"]
    finally:
        await connection.close()
