"""Which nodes the replicas run on, by what an API server says of their pods."""

import asyncio
from typing import Any

import pytest

from ingress.nodes import ReplicaNodes, address_of, is_ready
from ingress.publish import StatusPublisher
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from lb.cluster.connection import Connection, from_kubeconfig
from lb.cluster.objects import IngressStatus, Key, Node, Pod, decode
from lb.cluster.status import FolderStatus
from lb.cluster.store import ObjectStore
from tests.ingress.state import ingress
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.waiting import running, until

PODS, NODES = "/api/v1/namespaces/default/pods", "/api/v1/nodes"


@pytest.mark.parametrize(
    ("addresses", "wanted"),
    [
        ([("InternalIP", "10.0.0.1"), ("ExternalIP", "192.0.2.1"), ("ExternalIP", "192.0.2.2")], "192.0.2.1"),
        ([("Hostname", "a"), ("InternalIP", "10.0.0.1"), ("InternalIP", "fd00::1")], "10.0.0.1"),
        ([("Hostname", "a")], ""),
    ],
)
def test_address_of_a_node(addresses: list[tuple[str, str]], wanted: str) -> None:
    told = [{"type": kind, "address": address} for kind, address in addresses]
    whole = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "status": {"addresses": told}}
    found = decode(whole)
    assert isinstance(found, Node)
    assert address_of(found) == wanted


@pytest.mark.parametrize(
    ("phase", "ready", "wanted"),
    [("Running", "True", True), ("Running", "False", False), ("Failed", "True", False), ("Pending", "", False)],
)
def test_ready_pods(phase: str, ready: str, wanted: bool) -> None:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    status = {"phase": phase, "conditions": conditions}
    found = decode({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": status})
    assert isinstance(found, Pod)
    assert is_ready(found) is wanted


async def put_node(api: RealApi, name: str, **addresses: str) -> None:
    made = await api.request("POST", NODES, {"metadata": {"name": name}})
    made["status"] = {"addresses": [{"type": kind, "address": address} for kind, address in addresses.items()]}
    await api.request("PUT", f"{NODES}/{name}/status", made)


async def put_pod(api: RealApi, name: str, node: str, **labels: str) -> None:
    spec = {"nodeName": node, "containers": [{"name": "c", "image": "x"}], "automountServiceAccountToken": False}
    await api.request("POST", PODS, {"metadata": {"name": name, "labels": labels}, "spec": spec})


async def set_ready(api: RealApi, name: str, ready: bool) -> None:
    whole: dict[str, Any] = await api.request("GET", f"{PODS}/{name}")
    conditions = [{"type": "Ready", "status": str(ready)}]
    whole["status"] = {"phase": "Running", "hostIP": "10.9.9.9", "hostIPs": [{"ip": "10.9.9.9"}]}
    whole["status"]["conditions"] = conditions
    await api.request("PUT", f"{PODS}/{name}/status", whole)


class Kept(FolderStatus):
    """Statuses in the store itself."""

    def __init__(self, store: ObjectStore) -> None:
        self.told: list[list[str]] = []

    async def write_ingress(self, key: Key, status: IngressStatus) -> None:
        self.told.append([each.ip for each in status.load_balancer.ingress])


async def test_the_status_names_the_nodes_with_ready_replicas(
    real_api: RealApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.nodes.LOOK_SECONDS", 0.05)
    connection = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.admin})))
    store = ObjectStore()
    store.put(ingress("ours", default="x", annotations={"kubernetes.io/ingress.class": "nginx"}))
    synced = asyncio.Event()
    synced.set()
    writer = Kept(store)
    publisher = StatusPublisher(writer, nodes=ReplicaNodes(connection, "default", "front-1", internal=False))
    nodes, pods = ("one", "two", "three"), ("front-1", "front-2", "other")
    try:
        await put_node(real_api, "one", InternalIP="10.0.0.1", ExternalIP="192.0.2.1")
        await put_node(real_api, "two", InternalIP="10.0.0.2")
        await put_node(real_api, "three", InternalIP="10.0.0.3")
        await put_pod(real_api, "front-1", "one", **{"app": "front", "pod-template-hash": "abc"})
        await put_pod(real_api, "front-2", "two", **{"app": "front", "pod-template-hash": "def"})
        await put_pod(real_api, "other", "three", app="other")
        await set_ready(real_api, "other", True)
        async with running(publisher.run(RoutingTable(store, Selection()), synced)):
            await set_ready(real_api, "front-1", True)
            await until(lambda: writer.told[-1:] == [["192.0.2.1"]], "the first replica's node")
            await set_ready(real_api, "front-2", True)
            await until(lambda: writer.told[-1:] == [["10.0.0.2", "192.0.2.1"]], "both nodes")
            await set_ready(real_api, "front-1", False)
            await until(lambda: writer.told[-1:] == [["10.0.0.2"]], "the node that is left")
            await set_ready(real_api, "front-2", False)
        assert writer.told[-1] == ["10.0.0.2"], "what is known of nobody is not written"
        await set_ready(real_api, "front-2", True)
        asked = ReplicaNodes(connection, "default", "front-1", internal=True)
        assert await asked.ask() == ("10.9.9.9",)
    finally:
        await connection.close()
        for name in pods:
            await real_api.request("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        for name in nodes:
            await real_api.request("DELETE", f"{NODES}/{name}")
