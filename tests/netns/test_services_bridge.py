"""Pods on a Linux bridge whose packets the kernel shows to the IP hooks (bridge-nf-call-iptables=1), as is common.

With 0 an answer between two pods of one bridge does not pass the node, so it is never translated back: that setting
needs the routed mode of the pod network, which every other test here uses.
"""

import socket
from collections.abc import Callable

import pytest

from lb.cluster.objects import decode
from lb.cluster.store import ObjectStore
from lb.service.dataplane import ServiceDataplane
from tests.conftest import NetNs
from tests.lb.service.expectations import CIP, CIP2, ENDPOINTS, NODE, SOURCES, node_document, service, slices
from tests.netns.service_lab import inside

BRIDGE_NF = "net.bridge.bridge-nf-call-iptables"


def bridged(netns: Callable[..., NetNs]) -> tuple[NetNs, dict[str, NetNs]]:
    node = netns("node")
    node.run("ip", "link", "add", "pods", "type", "bridge")
    node.run("ip", "link", "set", "pods", "up")
    node.run("ip", "addr", "add", "10.244.1.1/24", "dev", "pods")
    node.run("ip", "addr", "add", f"{NODE}/32", "dev", "lo")
    node.run("ip", "route", "add", "default", "dev", "pods")
    if node.run("sysctl", "-n", BRIDGE_NF, check=False).strip() == "":
        pytest.skip("this kernel has no br_netfilter")
    node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", f"{BRIDGE_NF}=1")
    pods = {ENDPOINTS["L"]: netns("pod"), SOURCES["P"]: netns("caller")}
    for number, (address, pod) in enumerate(pods.items()):
        pod.connect("eth0", node, f"pod{number}")
        node.run("ip", "link", "set", f"pod{number}", "master", "pods")
        node.run("bridge", "link", "set", "dev", f"pod{number}", "hairpin", "on")
        pod.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        pod.run("ip", "route", "add", "default", "via", "10.244.1.1")
    return node, pods


def peer_seen(server: socket.socket, pod: NetNs, address: str, port: int) -> str:
    with inside(pod, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as client:
        client.settimeout(5)
        client.connect((address, port))
        connection, peer = server.accept()
        connection.close()
        return str(peer[0])


async def test_pods_on_a_bridge(netns: Callable[..., NetNs]) -> None:
    node, pods = bridged(netns)
    endpoint, caller = ENDPOINTS["L"], SOURCES["P"]
    store = ObjectStore()
    for document in (node_document(), service(), slices("L"), service("empty", clusterIP=CIP2)):
        store.put(decode(document))
    dataplane = inside(node, lambda: ServiceDataplane(store, "one"))
    await dataplane.apply(None)
    with inside(pods[endpoint], lambda: socket.create_server((endpoint, 8080))) as server:
        server.settimeout(5)
        assert peer_seen(server, pods[caller], CIP, 80) == caller
        assert peer_seen(server, pods[endpoint], CIP, 80) == "10.244.1.1", "hairpin: masqueraded"
        for address, port in ((CIP2, 80), (CIP, 81)):
            for pod in pods.values():
                with pytest.raises(ConnectionRefusedError):
                    peer_seen(server, pod, address, port)
    await dataplane.close()
