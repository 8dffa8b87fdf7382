"""`causeway explain` against a real API server: it says of each path what the packets say."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.parts import CAUSEWAY
from tests.e2e.cluster.processes import in_netns, run
from tests.e2e.shop import NAMESPACE, NEAR, PORT, Town

HOST = "explained.example"


@pytest.fixture(scope="module")
def address(cluster: Cluster, town: Town) -> Iterator[str]:
    """The load-balancer address of a Service; an Ingress for HOST leads to the same pods."""
    if cluster.baseline:
        pytest.skip("explains our parts only")
    ingress = shop.ingress("explained", HOST, {"/": "all"})
    cluster.kubectl.apply(shop.service("explained", {"town": "yes"}, "LoadBalancer"), shop.ingress_class(), ingress)
    given = cluster.load_balancer_address(NAMESPACE, "explained")
    for url in (f"http://{given}/hostname", f"http://{cluster.nodes[0].address}/hostname"):
        cluster.wait(f"{url} answers", partial(town.curl_outside, url, "-H", f"Host: {HOST}"))

    def published() -> bool:
        status = cluster.kubectl.get("ingress", "explained", NAMESPACE)["status"]["loadBalancer"]
        return bool(status.get("ingress"))

    cluster.wait("the Ingress has a status", published)
    yield given
    cluster.kubectl("-n", NAMESPACE, "delete", "service/explained", "ingress/explained")


def test_load_balancer_address(cluster: Cluster, address: str) -> None:
    code, told = _explain(cluster, f"{address}:{PORT}")
    assert code == 0, told
    assert "Service shop/explained" in told


def test_cluster_ip_from_a_pod(cluster: Cluster, town: Town, address: str) -> None:
    code, told = _explain(cluster, f"{town.cluster_ip('all')}:{PORT}", f"--from={NAMESPACE}/{NEAR}")
    assert code == 0, told
    for name in (NEAR, shop.BESIDE, shop.FAR):
        assert name in told


def test_ingress_host(cluster: Cluster, address: str) -> None:
    code, told = _explain(cluster, f"http://{HOST}/hostname")
    assert code == 0, told
    assert "shop/explained" in told


def test_a_service_without_endpoints_is_the_reason(cluster: Cluster, town: Town, address: str) -> None:
    cluster.kubectl.apply(shop.service("nobody", {"nobody": "has-this"}))
    try:
        code, told = _explain(cluster, f"{town.cluster_ip('nobody')}:{PORT}", f"--from={NAMESPACE}/{NEAR}")
        assert code == 1, told
        assert "shop/nobody" in told
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "nobody")


def _explain(cluster: Cluster, target: str, *flags: str) -> tuple[int, str]:
    """Exit code and words."""
    argv = [str(CAUSEWAY), "explain", target, f"--kubeconfig={cluster.state}/admin.kubeconfig", *flags]
    done = run(in_netns(layout.CONTROL, argv), check=False)
    return done.returncode, done.stdout + done.stderr
