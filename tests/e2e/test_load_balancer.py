"""Load-balancer addresses on real Kubernetes: allocated, in status, answered, and given back."""

import ipaddress
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.shop import BESIDE, FAR, LONELY, NAMESPACE, NEAR, Town, source_seen


@pytest.fixture(scope="module")
def address(cluster: Cluster, town: Town) -> Iterator[str]:
    """Of the Service front, served by near, beside and far."""
    cluster.kubectl.apply(shop.service("front", {"town": "yes"}, "LoadBalancer"))
    given = cluster.load_balancer_address(NAMESPACE, "front")
    cluster.wait(f"{given} answers", lambda: town.curl_outside(f"http://{given}/hostname"))
    yield given
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "front")


def test_address_is_of_the_pool(address: str) -> None:
    first, last = (ipaddress.ip_address(text) for text in (layout.POOL_FIRST, layout.POOL_LAST))
    assert int(first) <= int(ipaddress.ip_address(address)) <= int(last)


def test_client_outside_reaches_every_pod(town: Town, address: str) -> None:
    answers = Counter(town.curl_outside(f"http://{address}/hostname") for _ in range(40))
    assert set(answers) == {NEAR, BESIDE, FAR}, answers


def test_one_node_answers_for_the_address(cluster: Cluster, address: str) -> None:
    """Asked by ARP, exactly one machine says it has it."""
    if cluster.baseline:
        pytest.skip("the baseline announces nothing")
    cluster.client("ip", "neigh", "flush", "dev", "eth0")
    told = cluster.client("arping", "-b", "-c", "3", "-w", "5", "-I", "eth0", address, check=False)
    answers = {word for line in told.splitlines() for word in line.split() if word.count(":") == 5}
    assert len({answer.strip("[]()").lower() for answer in answers}) == 1, told


def test_pods_and_nodes_reach_the_address(cluster: Cluster, town: Town, address: str) -> None:
    for source in (NEAR, FAR):
        assert town.curl(source, f"http://{address}/hostname")
    for node in cluster.nodes:
        assert cluster.on_node(node, "curl", "-sf", "--max-time", "5", f"http://{address}/hostname")


def test_second_service_has_an_address_of_its_own(cluster: Cluster, town: Town, address: str) -> None:
    cluster.kubectl.apply(shop.service("second", {"name": LONELY}, "LoadBalancer"))
    try:
        other = cluster.load_balancer_address(NAMESPACE, "second")
        assert other != address
        cluster.wait("it answers", lambda: town.curl_outside(f"http://{other}/hostname") == LONELY)
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "second")


def test_deleted_service_gives_its_address_back(cluster: Cluster, town: Town) -> None:
    cluster.kubectl.apply(shop.service("brief", {"name": LONELY}, "LoadBalancer"))
    given = cluster.load_balancer_address(NAMESPACE, "brief")
    url = f"http://{given}/hostname"
    cluster.wait("it answers", lambda: town.curl_outside(url))
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "brief")

    def silent() -> bool:
        try:
            return not town.curl_outside(url, "--max-time", "1")
        except RuntimeError:
            return True

    cluster.wait("it answers no more", silent)


def test_local_traffic_policy_keeps_the_clients_address(cluster: Cluster, town: Town) -> None:
    """The pod is on the second node, so that node must be the one that answers for the address."""
    if cluster.baseline:
        pytest.skip("the baseline's addresses lead to the first node, which has no pod of it")
    cluster.kubectl.apply(shop.service("local", {"name": LONELY}, "LoadBalancer", externalTrafficPolicy="Local"))
    try:
        url = f"http://{cluster.load_balancer_address(NAMESPACE, 'local')}/clientip"
        cluster.wait("it answers", lambda: town.curl_outside(url))
        assert {source_seen(town.curl_outside(url)) for _ in range(5)} == {layout.CLIENT_ADDRESS}
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "local")
