"""All parts of the agent together: a request from outside reaches a pod by a Service's addresses."""

import json
from typing import Any

import pytest

from tests.netns.lan import PORT, Lan, Pod, seen_from, wait_for

pytestmark = pytest.mark.netns

CLUSTER_IP, NODE_PORT, ADDRESS = "10.96.0.10", 30123, "192.168.70.200"


def write_service(lan: Lan, pods: list[Pod]) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cart", "namespace": "shop"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": CLUSTER_IP,
            "ports": [{"port": 80, "targetPort": PORT, "nodePort": NODE_PORT}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": ADDRESS}]}},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "cart-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "cart"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod.ips[0]], "nodeName": pod.node.name} for pod in pods],
        "ports": [{"port": PORT}],
    }
    for name, document in (("service", service), ("slice", endpoints)):
        new = lan.manifests / f".{name}"
        new.write_text(json.dumps(document))
        new.rename(lan.manifests / f"{name}.yaml")


def announced(lan: Lan) -> list[str]:
    """The names of the nodes that announce the address."""

    def state(path: Any) -> list[dict[str, Any]]:
        return list(json.loads(path.read_text())["addresses"]) if path.exists() else []

    files = {node.name: node.run_dir / "announced.json" for node in lan.nodes}
    return [name for name, path in files.items() if any(each["here"] for each in state(path))]


@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_a_service_is_reached_from_everywhere(lan: Lan, mode: str) -> None:
    one, two = lan.node(1, "--pod-network", mode), lan.node(2, "--pod-network", mode)
    outside = lan.machine("outside", 9)
    for node in (one, two):
        node.launch()
    for node in (one, two):
        node.wait_ready()
    client, server, neighbour = lan.pod(one), lan.pod(two), lan.pod(two)
    lan.serve(server.ns)
    write_service(lan, [server])
    wait_for(lambda: client.ask(CLUSTER_IP, port=80))
    assert client.ask(CLUSTER_IP, port=80) == client.ips[0]  # unchanged, also across nodes
    assert server.ask(CLUSTER_IP, port=80)  # itself
    assert neighbour.ask(CLUSTER_IP, port=80) == neighbour.ips[0]
    assert seen_from(outside, one.address, port=NODE_PORT) == one.address
    assert seen_from(outside, two.address, port=NODE_PORT)
    wait_for(lambda: announced(lan))
    assert wait_for(lambda: seen_from(outside, ADDRESS, port=80))

    # The node that has the address stops: the other one takes over, and what it has set up goes on working.
    (holder,) = announced(lan)
    gone = next(node for node in lan.nodes if node.name == holder)
    assert gone.stop() == 0
    wait_for(lambda: announced(lan) and seen_from(outside, ADDRESS, port=80))
    assert client.ask(CLUSTER_IP, port=80) == client.ips[0]


def test_cleanup_removes_the_services_too(lan: Lan) -> None:
    node = lan.node(1)
    node.start()
    wait_for(lambda: "causeway-services" in node.ns.run("nft", "list", "tables"))
    node.stop()
    node.ns.run(*node.argv("--cleanup"))
    assert node.ns.run("nft", "list", "tables") == ""


def test_a_folder_that_refuses_the_plugin(lan: Lan) -> None:
    node = lan.node(1)
    (node.folder / "net.d").parent.mkdir()
    (node.folder / "bin").write_text("a file where a folder should be")
    node.flags = ("--drift-seconds", "0.3")
    node.launch()
    # click knows such a folder is none; one that turns into a file later is the agent's to report.
    assert node.process is not None
    assert node.process.wait(20) == 2
    (node.folder / "bin").unlink()
    (node.folder / "net.d").symlink_to("/proc/nowhere")
    node.launch()
    wait_for(lambda: node.says("the CNI plugin cannot be installed"))
    assert node.says("pod network ready")
    (node.folder / "net.d").unlink()
    wait_for(node.conflist.exists)
