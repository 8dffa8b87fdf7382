"""Services on real Kubernetes: ClusterIP, names, hairpin, affinity, refusal, and the API server's own Service."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.shop import BESIDE, FAR, LONELY, NAMESPACE, NEAR, Town, source_seen

ALL = (NEAR, BESIDE, FAR)
REFUSED = "curl: (7)"  # could not connect; silence is 28


def test_cluster_ip_spreads_over_its_pods(town: Town) -> None:
    answers = _answers(town, NEAR, f"http://{town.cluster_ip('all')}/hostname", 40)
    assert set(answers) == set(ALL), answers
    assert min(answers.values()) >= 2, answers


@pytest.mark.parametrize("source", [NEAR, FAR])
def test_cluster_ip_keeps_the_pods_address(town: Town, source: str) -> None:
    answer = town.curl(source, f"http://{town.cluster_ip('lonely')}/clientip")
    assert source_seen(answer) == town.addresses[source]


def test_pod_reaches_itself_by_its_own_service(town: Town) -> None:
    answers = _answers(town, LONELY, f"http://{town.cluster_ip('lonely')}/hostname", 10)
    assert answers == {LONELY: 10}


def test_node_reaches_cluster_ips(cluster: Cluster, town: Town) -> None:
    for node in cluster.nodes:
        url = f"http://{town.cluster_ip('lonely')}/hostname"
        assert cluster.on_node(node, "curl", "-sf", "--max-time", "5", url) == LONELY


@pytest.mark.parametrize("name", ["all", f"all.{NAMESPACE}", f"all.{NAMESPACE}.svc.cluster.local"])
def test_names_resolve(town: Town, name: str) -> None:
    assert town.curl(FAR, f"http://{name}/hostname") in ALL


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("source", [NEAR, FAR])
def test_name_server_answers_over_udp_and_tcp(town: Town, source: str, transport: str) -> None:
    question = ["dig", "+short", "+time=2", "+tries=2", transport, f"all.{NAMESPACE}.svc.cluster.local"]
    told = town.cluster.kubectl.exec(NAMESPACE, source, *question)
    assert told.strip() == town.cluster_ip("all")


def test_pod_reaches_the_api_server(town: Town) -> None:
    """By its ClusterIP and name, with the account token every pod has."""
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    ask = f'curl -sS --fail --max-time 5 --cacert {account}/ca.crt -H "Authorization: Bearer $(cat {account}/token)"'
    for host in (layout.API_SERVICE_ADDRESS, "kubernetes.default.svc"):
        told = town.cluster.kubectl.exec(NAMESPACE, NEAR, "sh", "-c", f"{ask} https://{host}/api")
        assert '"APIVersions"' in told


def test_service_without_endpoints_refuses(cluster: Cluster, town: Town) -> None:
    """At once, not by silence."""
    cluster.kubectl.apply(shop.service("empty", {"nobody": "has-this"}))
    try:
        url = f"http://{town.cluster_ip('empty')}/"
        cluster.wait("an empty Service refuses", lambda: REFUSED in _failure(town, url))
        port = f"http://{town.cluster_ip('all')}:81/"
        assert REFUSED in _failure(town, port), "a port the Service has not"
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "empty")


def test_client_ip_affinity_stays_with_one_pod(cluster: Cluster, town: Town) -> None:
    cluster.kubectl.apply(shop.service("sticky", {"town": "yes"}, sessionAffinity="ClientIP"))
    try:
        url = f"http://{town.cluster_ip('sticky')}/hostname"
        cluster.wait("the Service answers", lambda: town.curl(NEAR, url))
        for source in ALL:
            assert len(_answers(town, source, url, 15)) == 1
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "sticky")


def test_headless_service_gives_the_pods_addresses(cluster: Cluster, town: Town) -> None:
    cluster.kubectl.apply(shop.service("headless", {"town": "yes"}, clusterIP="None"))
    question = ["dig", "+short", "+time=2", f"headless.{NAMESPACE}.svc.cluster.local"]
    wanted = {town.addresses[name] for name in ALL}

    def resolved() -> bool:
        return set(cluster.kubectl.exec(NAMESPACE, NEAR, *question).split()) == wanted

    try:
        cluster.wait("the name has all pods' addresses", resolved)
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "headless")


@pytest.fixture(scope="module")
def node_port(cluster: Cluster, town: Town) -> Iterator[int]:
    cluster.kubectl.apply(shop.service("door", {"town": "yes"}, "NodePort"))
    port = town.node_port("door")
    for node in cluster.nodes:
        cluster.wait(
            f"{node.name}:{port} answers", partial(town.curl_outside, f"http://{node.address}:{port}/hostname")
        )
    yield port
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "door")


def test_client_outside_reaches_pods_by_every_nodes_port(cluster: Cluster, town: Town, node_port: int) -> None:
    for node in cluster.nodes:
        url = f"http://{node.address}:{node_port}/hostname"
        answers = Counter(town.curl_outside(url) for _ in range(30))
        assert set(answers) == set(ALL), f"{node.name}: {answers}"


def test_node_port_hides_the_client_unless_told_otherwise(cluster: Cluster, town: Town, node_port: int) -> None:
    """externalTrafficPolicy Cluster: the answer must come back by the node that was asked."""
    for node in cluster.nodes:
        assert source_seen(town.curl_outside(f"http://{node.address}:{node_port}/clientip")) != layout.CLIENT_ADDRESS


def test_pods_and_nodes_reach_node_ports(cluster: Cluster, town: Town, node_port: int) -> None:
    for node in cluster.nodes:
        url = f"http://{node.address}:{node_port}/hostname"
        assert town.curl(NEAR, url) in ALL
        assert cluster.on_node(node, "curl", "-sf", "--max-time", "5", url) in ALL


def test_local_traffic_policy_keeps_the_client_on_node_ports(cluster: Cluster, town: Town) -> None:
    local = {"externalTrafficPolicy": "Local"}
    cluster.kubectl.apply(shop.service("local-door", {"name": LONELY}, "NodePort", **local))
    try:
        port = town.node_port("local-door")
        without, home = cluster.nodes[:2]
        url = f"http://{home.address}:{port}/clientip"
        cluster.wait("the node with the pod answers", lambda: town.curl_outside(url))
        assert source_seen(town.curl_outside(url)) == layout.CLIENT_ADDRESS
        with pytest.raises(RuntimeError, match="curl"):
            town.curl_outside(f"http://{without.address}:{port}/clientip", "--max-time", "2")
    finally:
        cluster.kubectl("-n", NAMESPACE, "delete", "service", "local-door")


def test_deleted_service_answers_no_more(cluster: Cluster, town: Town) -> None:
    cluster.kubectl.apply(shop.service("brief", {"town": "yes"}, "NodePort"))
    url = f"http://{cluster.nodes[0].address}:{town.node_port('brief')}/hostname"
    cluster.wait("it answers", lambda: town.curl_outside(url))
    cluster.kubectl("-n", NAMESPACE, "delete", "service", "brief")

    def silent() -> bool:
        try:
            return not town.curl_outside(url, "--max-time", "2")
        except RuntimeError:
            return True

    cluster.wait("it answers no more", silent)


def _answers(town: Town, pod: str, url: str, count: int) -> Counter[str]:
    """Who answered, of `count` connections made one after another in the pod."""
    script = f"for i in $(seq {count}); do curl -sS --fail --max-time 5 {url} && echo; done"
    told = town.cluster.kubectl.exec(NAMESPACE, pod, "sh", "-c", script)
    return Counter(re.findall(r"\S+", told))


def _failure(town: Town, url: str) -> str:
    """curl's words about a connection that fails within two seconds."""
    try:
        return f"answered: {town.curl(NEAR, url, '--max-time', '2')}"
    except RuntimeError as error:
        return str(error)
