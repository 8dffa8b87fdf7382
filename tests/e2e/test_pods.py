"""The pod network on real Kubernetes: kubelet and containerd call our plugin, packets keep their addresses."""

import ipaddress
from collections.abc import Iterator

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.processes import Process
from tests.e2e.shop import BESIDE, FAR, NAMESPACE, NEAR, TARGET_PORT, Town, source_seen

OUTSIDE_PORT = 8088


@pytest.fixture(scope="module")
def outside_server(cluster: Cluster) -> Iterator[str]:
    """An HTTP server at the client outside; its base URL. It says who asks."""
    argv = [str(cluster.programs / "agnhost"), "netexec", f"--http-port={OUTSIDE_PORT}", f"--udp-port={OUTSIDE_PORT}"]
    server = Process("outside-server", layout.CLIENT, argv, cluster.state / "log/outside-server.log", {})
    server.start()
    url = f"http://{layout.CLIENT_ADDRESS}:{OUTSIDE_PORT}"
    try:
        cluster.wait("the server outside answers", lambda: cluster.client("curl", "-sf", f"{url}/healthz") or "ok")
        yield url
    finally:
        server.end()


def test_nodes_are_ready(cluster: Cluster) -> None:
    for node in cluster.kubectl.all("nodes", "default"):
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert conditions["Ready"] == "True"


def test_pod_addresses_come_from_their_nodes_range(cluster: Cluster, town: Town) -> None:
    ranges = {n["metadata"]["name"]: n["spec"]["podCIDR"] for n in cluster.kubectl.all("nodes", "default")}
    for pod in cluster.kubectl.all("pods", NAMESPACE):
        pod_range = ipaddress.ip_network(ranges[pod["spec"]["nodeName"]])
        assert ipaddress.ip_address(pod["status"]["podIP"]) in pod_range, pod["metadata"]["name"]
    assert len(set(town.addresses.values())) == len(town.addresses)


@pytest.mark.parametrize(
    ("source", "target"), [(NEAR, BESIDE), (BESIDE, NEAR), (NEAR, FAR), (FAR, NEAR)], ids=lambda name: str(name)
)
def test_pod_to_pod_keeps_both_addresses(town: Town, source: str, target: str) -> None:
    answer = town.curl(source, f"http://{town.addresses[target]}:{TARGET_PORT}/clientip")
    assert source_seen(answer) == town.addresses[source]


def test_containers_of_a_pod_share_localhost(town: Town) -> None:
    assert town.curl(NEAR, "http://127.0.0.1:9090/hostname") == NEAR


def test_pod_reaches_itself_by_its_own_address(town: Town) -> None:
    answer = town.curl(NEAR, f"http://{town.addresses[NEAR]}:{TARGET_PORT}/clientip")
    assert source_seen(answer) == town.addresses[NEAR]


def test_node_reaches_pods_of_every_node(cluster: Cluster, town: Town) -> None:
    for node in cluster.nodes:
        for pod in (NEAR, FAR):
            url = f"http://{town.addresses[pod]}:{TARGET_PORT}/hostname"
            assert cluster.on_node(node, "curl", "-sf", "--max-time", "5", url) == pod


@pytest.mark.parametrize("pod", [NEAR, FAR])
def test_pod_to_outside_has_its_nodes_address(cluster: Cluster, town: Town, outside_server: str, pod: str) -> None:
    node = cluster.node(cluster.kubectl.get("pod", pod, NAMESPACE)["spec"]["nodeName"])
    assert source_seen(town.curl(pod, f"{outside_server}/clientip")) == node.address


def test_big_messages_cross_the_nodes_whole(town: Town) -> None:
    """A path whose MTU is wrong passes small requests and hangs on big ones."""
    script = (
        "head -c 3000000 /dev/zero | tr '\\0' x >/tmp/big && "
        f"curl -sS --fail --max-time 20 -F file=@/tmp/big http://{town.addresses[FAR]}:{TARGET_PORT}/upload"
    )
    assert '"output"' in town.cluster.kubectl.exec(NAMESPACE, NEAR, "sh", "-c", script)


def test_ended_pods_leave_no_link(cluster: Cluster, town: Town) -> None:
    """A pod that ends leaves no link on its node."""
    node = cluster.nodes[0]
    before = cluster.pod_links(node)
    names = [f"brief-{i}" for i in range(3)]
    cluster.kubectl.apply(*(shop.pod(name, node.name, {"brief": "yes"}) for name in names))
    wait = ["wait", "pod", "-l", "brief=yes", "--for=condition=Ready", "--timeout=60s"]
    cluster.kubectl("-n", NAMESPACE, *wait, timeout=65)
    assert len(cluster.pod_links(node) - before) >= len(names)
    cluster.kubectl("-n", NAMESPACE, "delete", "pod", "-l", "brief=yes", "--timeout=60s", timeout=65)
    cluster.wait("the pods' links are gone", lambda: cluster.pod_links(node) == before)
