"""Scaling and rolling a Deployment under load from outside: no request is lost, whatever the way in."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e import shop
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.load import Loads
from tests.e2e.shop import NAMESPACE, Town

HOST, WEB = "web.example", "web"


@pytest.fixture(scope="module")
def ways(cluster: Cluster, town: Town) -> Iterator[dict[str, str]]:
    """The Deployment `web` of two pods; way in -> ADDRESS:PORT, for each way there is."""
    kubectl = cluster.kubectl
    kubectl.apply(shop.deployment(WEB, 2), shop.service(WEB, {"app": WEB}, "LoadBalancer"))
    found = {"load balancer": f"{cluster.load_balancer_address(NAMESPACE, WEB)}:{shop.PORT}"}
    found["node port"] = f"{cluster.nodes[1].address}:{town.node_port(WEB)}"
    if cluster.parts.ingress:
        kubectl.apply(shop.ingress_class(), shop.ingress(WEB, HOST, {"/": WEB}))
        found["Ingress"] = f"{cluster.nodes[0].address}:80"
        found["Ingress, keep-alive"] = found["Ingress"]
    kubectl.rolled_out(WEB, NAMESPACE)
    for way, address in found.items():
        cluster.wait(f"{way} answers", partial(town.curl_outside, f"http://{address}/hostname", "-H", f"Host: {HOST}"))
    yield found
    kubectl("-n", NAMESPACE, "delete", f"deploy/{WEB}", f"service/{WEB}", "--wait=false")
    if cluster.parts.ingress:
        kubectl("-n", NAMESPACE, "delete", "ingress", WEB)


def test_scaling_loses_no_request(cluster: Cluster, town: Town, ways: dict[str, str]) -> None:
    with ExitStack() as stack:
        loads = Loads(stack, ways, HOST)
        for replicas in (5, 1, 3):
            cluster.kubectl("-n", NAMESPACE, "scale", f"deploy/{WEB}", f"--replicas={replicas}")
            cluster.kubectl.rolled_out(WEB, NAMESPACE)
            _wait_for_pods(cluster, replicas)
            for address in ways.values():
                _wait_for_answers(town, address, set(shop.pod_addresses(cluster, f"app={WEB}")))
        loads.check()


def test_rolling_loses_no_request(cluster: Cluster, ways: dict[str, str]) -> None:
    old = set(shop.pod_addresses(cluster, f"app={WEB}"))
    with ExitStack() as stack:
        loads = Loads(stack, ways, HOST)
        cluster.kubectl("-n", NAMESPACE, "rollout", "restart", f"deploy/{WEB}")
        cluster.kubectl.rolled_out(WEB, NAMESPACE)
        _wait_for_pods(cluster, 3)
        results = loads.check()
    new = set(shop.pod_addresses(cluster, f"app={WEB}"))
    assert not old & new
    for way, result in results.items():
        assert set(result.answers) >= new, f"{way}: {result.answers}; new pods are {new}"


def _wait_for_answers(town: Town, address: str, pods: set[str]) -> None:
    """Until every one of the pods has answered."""
    waiting = set(pods)

    def ask() -> bool:
        waiting.discard(town.curl_outside(f"http://{address}/hostname", "-H", f"Host: {HOST}"))
        return not waiting

    town.cluster.wait(f"{address} leads to every pod", ask)


def _wait_for_pods(cluster: Cluster, count: int) -> None:
    """Until so many pods are left: those told to end serve for a while, and that is the time to lose requests."""
    cluster.wait(
        f"{count} pods are left", lambda: len(cluster.kubectl.all("pods", NAMESPACE, f"app={WEB}")) == count, timeout=60
    )
