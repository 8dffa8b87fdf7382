"""The Ingress controller when objects are broken, and when it, or the API server, goes away."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.parts import CAUSEWAY
from tests.e2e.cluster.processes import Process, in_netns, run
from tests.e2e.load import Loads
from tests.e2e.shop import LONELY, NAMESPACE, Object, Town

HOST, BROKEN = "good.example", "broken"

STATUS_WITHIN_S = 20.0
"""A Lease of 8 s runs out, somebody takes it, and writes."""


@pytest.fixture(scope="module")
def front(cluster: Cluster, town: Town) -> Iterator[str]:
    """The address of the proxy on the first node; HOST leads to `all`."""
    if not cluster.parts.ingress:
        pytest.skip("no Ingress controller in the baseline")
    cluster.kubectl.apply(shop.ingress_class(), shop.ingress("good", HOST, {"/": "all"}))
    address = cluster.nodes[0].address
    cluster.wait("it answers", lambda: _ask(town, address, HOST))
    yield address
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "good")


@pytest.fixture
def second(cluster: Cluster, town: Town, front: str) -> Iterator[Process]:
    """Another replica, on the second node; it serves the same Ingresses."""
    first = cluster.parts.ingress
    assert first
    node = cluster.nodes[1]
    argv = [str(CAUSEWAY), *(each.replace(front, node.address) for each in first.argv[1:])]
    argv = [f"--publish-status-address={front}" if "publish-status" in each else each for each in argv]
    replica = Process("ingress-2", node.netns, argv, cluster.state / "log/ingress-2.log", {})
    replica.start()
    cluster.wait("it answers", lambda: _ask(town, node.address, HOST))
    yield replica
    replica.end()


def test_of_broken_objects_each_is_told_and_nothing_else_harmed(cluster: Cluster, town: Town, front: str) -> None:
    """One of each kind: what is wrong is in an Event on the Ingress that asks for it, and in `causeway check`."""
    objects = list(_broken())
    names = {each["metadata"]["name"] for each in objects if each["kind"] == "Ingress"}
    with ExitStack() as stack:
        loads = Loads(stack, {"Ingress": f"{front}:80", "Ingress, keep-alive": f"{front}:80"}, HOST)
        cluster.kubectl.apply(*objects)
        cluster.wait("each is told", lambda: names == set(_told(cluster)))
        assert _ask(town, front, f"{BROKEN}-secret.example"), "the default certificate is shown; by HTTP it answers"
        assert _ask(town, front, f"{BROKEN}-pattern.example", "/hostname"), "the other path of the same Ingress"
        for name in ("service", "name", "slice"):
            assert _status(town, front, f"{BROKEN}-{name}.example") == "503"
        assert _ask(town, front, HOST) != LONELY, "who asked first for the host has it"
        assert _found_wrong(cluster) == names
        cluster.wait("nothing else is told", lambda: names == set(_told(cluster)))
        loads.check()
    kinds = sorted({f"{each['kind']}/{each['metadata']['name']}" for each in objects})
    cluster.kubectl("-n", NAMESPACE, "delete", *kinds)


@pytest.mark.disruptive
def test_the_leader_is_killed(cluster: Cluster, town: Town, front: str, second: Process) -> None:
    """The other replica's clients notice nothing, and it writes the statuses from then on."""
    leader = cluster.parts.ingress
    assert leader
    cluster.wait("the first one leads", lambda: f"_{leader.pid}_" in _holder(cluster))
    with ExitStack() as stack:
        way = f"{cluster.nodes[1].address}:80"
        loads = Loads(stack, {"Ingress": way, "Ingress, keep-alive": way}, HOST)
        leader.end()
        cluster.kubectl.apply(shop.ingress("late", "late.example", {"/": "lonely"}))
        cluster.wait("what is new is served", lambda: _ask(town, cluster.nodes[1].address, "late.example"))
        cluster.wait("it has its status", lambda: _published(cluster, "late") == [front], STATUS_WITHIN_S)
        assert f"_{second.pid}_" in _holder(cluster)
        leader.start()
        cluster.wait("the first one serves again", lambda: _ask(town, front, "late.example"))
        loads.check()
    second.end(signal.SIGTERM)
    assert _published(cluster, "late") == [front], "one is left"
    cluster.wait("the first one leads again", lambda: f"_{leader.pid}_" in _holder(cluster), STATUS_WITHIN_S)
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "late")


@pytest.mark.disruptive
def test_changes_while_the_api_server_is_away(cluster: Cluster, town: Town, front: str) -> None:
    """Killed, restarted, and the versions that watches know are gone (410): what has changed since is served."""
    server, etcd = cluster.control["kube-apiserver"], cluster.control["etcd"]
    cluster.kubectl.apply(shop.ingress("going", "going.example", {"/": "all"}))
    cluster.wait("it answers", lambda: _ask(town, front, "going.example"))
    with ExitStack() as stack:
        loads = Loads(stack, {"Ingress": f"{front}:80", "Ingress, keep-alive": f"{front}:80"}, HOST)
        server.end()
        etcd.end()
        etcd.start()
        server.start()
        cluster.wait("the API server answers", lambda: cluster.kubectl("get", "--raw", "/readyz"), 60)
        cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "going")
        cluster.kubectl.apply(shop.ingress("coming", "coming.example", {"/": "lonely"}))
        cluster.wait("what is new is served", lambda: _ask(town, front, "coming.example"))
        cluster.wait("what is gone is not", lambda: _status(town, front, "going.example") == "404")
        cluster.wait("it has its status", lambda: _published(cluster, "coming") == [front], STATUS_WITHIN_S)
        loads.check()
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "coming")


@pytest.mark.disruptive
def test_a_connection_to_the_api_server_that_goes_silent(cluster: Cluster, town: Town, front: str) -> None:
    """No packet tells that it is dead: what changes meanwhile is served all the same, when packets flow again."""
    node = cluster.nodes[0]
    silence = f"""table ip cut {{
      chain out {{ type filter hook output priority 0; ip daddr {layout.CONTROL_ADDRESS} tcp dport 6443 drop; }}
      chain in {{ type filter hook input priority 0; ip saddr {layout.CONTROL_ADDRESS} tcp sport 6443 drop; }}
    }}"""
    with ExitStack() as stack:
        stack.callback(cluster.on_node, node, "nft", "delete", "table", "ip", "cut", check=False)
        loads = Loads(stack, {"Ingress": f"{front}:80"}, HOST)
        run(in_netns(node.netns, ["nft", "-f", "-"]), stdin=silence)
        cluster.kubectl.apply(shop.ingress("silent", "silent.example", {"/": "lonely"}))
        with pytest.raises(TimeoutError):
            cluster.wait("nothing is heard of it", lambda: _ask(town, front, "silent.example"), 12)
        cluster.on_node(node, "nft", "delete", "table", "ip", "cut")
        cluster.wait("it is served", lambda: _ask(town, front, "silent.example"), 60)
        cluster.wait("it has its status", lambda: _published(cluster, "silent") == [front], STATUS_WITHIN_S)
        loads.check()
    cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "silent")


def _broken() -> Iterator[Object]:
    """Objects that an API server takes and that cannot be served, each with an Ingress that asks for it."""

    def meta(name: str) -> Object:
        return {"name": f"{BROKEN}-{name}", "namespace": NAMESPACE}

    def asks(name: str, paths: dict[str, str], tls_secret: str = "") -> Object:
        return shop.ingress(f"{BROKEN}-{name}", f"{BROKEN}-{name}.example", paths, tls_secret)

    nonsense = {"tls.crt": "bm90aGluZw==", "tls.key": "bm90aGluZw=="}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": meta("secret"),
        "data": nonsense,
    }
    yield asks("secret", {"/": "all"}, f"{BROKEN}-secret")
    yield asks("service", {"/": "nobody"})
    external = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": 80}]}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta("name"), "spec": external}
    yield asks("name", {"/": f"{BROKEN}-name"})
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta("slice"), "spec": {"ports": [{"port": 80}]}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta("slice") | {"labels": {"kubernetes.io/service-name": f"{BROKEN}-slice"}},
        "addressType": "FQDN",
        "ports": [{"name": "", "port": 80}],
        "endpoints": [{"addresses": ["pods.example"], "conditions": {"ready": True}}],
    }
    yield asks("slice", {"/": f"{BROKEN}-slice"})
    pattern = asks("pattern", {"/(?=never)": "lonely", "/hostname": "all"})
    pattern["metadata"]["annotations"] = {"causeway.dev/use-regex": "true"}
    for path in pattern["spec"]["rules"][0]["http"]["paths"]:
        path["pathType"] = "ImplementationSpecific"
    yield pattern
    value = asks("value", {"/": "all"})
    value["metadata"]["annotations"] = {"causeway.dev/proxy-read-timeout": "a while"}
    yield value
    taken = asks("conflict", {"/": "lonely"})
    taken["spec"]["rules"][0]["host"] = HOST
    yield taken


def _found_wrong(cluster: Cluster) -> set[str]:
    """Names of Ingresses that `causeway check` has something against."""
    argv = [str(CAUSEWAY), "check", f"--kubeconfig={cluster.state}/admin.kubeconfig", "--output=json"]
    report = json.loads(run(in_netns(layout.CONTROL, argv), check=False).stdout)
    return {
        each["ingress"].partition("/")[2]
        for each in report["ingresses"]
        if each["problems"] or any(finding["fate"] not in ("honoured", "differs") for finding in each["findings"])
    }


def _told(cluster: Cluster) -> dict[str, str]:
    """Ingress -> what its last Event says is wrong, of those that are there."""
    there = {each["metadata"]["name"] for each in cluster.kubectl.all("ingress", NAMESPACE)}
    found = {
        each["involvedObject"]["name"]: str(each["message"])
        for each in cluster.kubectl.all("events", NAMESPACE)
        if each["reason"] == "Problem" and each["involvedObject"]["kind"] == "Ingress"
    }
    return {name: message for name, message in found.items() if name in there}


def _holder(cluster: Cluster) -> str:
    return str(cluster.kubectl.get("lease", "causeway-ingress", "kube-system")["spec"].get("holderIdentity"))


def _published(cluster: Cluster, name: str) -> list[str]:
    status = cluster.kubectl.get("ingress", name, NAMESPACE)["status"]
    return [each["ip"] for each in status["loadBalancer"].get("ingress", [])]


def _ask(town: Town, address: str, host: str, path: str = "/hostname") -> str:
    return town.curl_outside(f"http://{address}{path}", "-H", f"Host: {host}", "--max-time", "2")


def _status(town: Town, address: str, host: str) -> str:
    flags = ("--no-fail", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}")
    return town.curl_outside(f"http://{address}/hostname", *flags)
