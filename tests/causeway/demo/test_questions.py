from pathlib import Path

import pytest

from causeway.demo.cluster import read_nodes
from causeway.demo.questions import Facts, PodFact, pair, questions, same_node_pair
from causeway.demo.topology import NodePlace

MANIFESTS = Path(__file__).parents[3] / "deploy" / "demo"
NODES = tuple(NodePlace(f"node{n}", f"192.0.2.1{n}", f"10.244.{n}.0/24") for n in (1, 2, 3))


def pod(deployment: str, number: int, node: int) -> PodFact:
    return PodFact("shop", f"{deployment}-{number}", deployment, f"node{node}", f"10.244.{node}.{number}")


PODS = (pod("web", 1, 1), pod("web", 2, 2), pod("cart", 1, 1), pod("desk", 1, 3), pod("proxy", 1, 2))


def test_the_nodes_of_the_manifests() -> None:
    assert read_nodes(MANIFESTS) == (list(NODES), [])


def test_everything_is_asked() -> None:
    facts = Facts(PODS, NODES, "192.0.2.100", "node2", "/ca.crt")
    titles = " / ".join(each.title for each in questions(facts))
    for expected in ("on one node", "across nodes", "localhost", "ClusterIP", "UDP", "its own Service", "refuses",
                     "NodePort on node1", "NodePort on node2", "NodePort on node3", "load-balancer", "404",
                     "to the internet", "by host", "by path", "TLS"):  # fmt: skip
        assert expected in titles
    assert not any("node1" in each.asker for each in questions(facts))  # asked from pods and from outside


def test_pairs() -> None:
    one, other = same_node_pair(PODS)
    assert (one.name, other.name) == ("web-1", "cart-1")
    with pytest.raises(LookupError):
        pair(PODS[:1], lambda one, other: True)
