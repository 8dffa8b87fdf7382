"""Who announces: the election's stability, and the reason for everybody who does not."""

from collections import Counter
from typing import Any

import pytest

from lb.balancer.elect import (
    Claim,
    Endpoints,
    Verdict,
    addresses_of,
    elect,
    endpoints_of,
    internal_ips,
    judge,
    node_refusal,
    refusal,
)
from lb.balancer.pools import parse_address
from lb.cluster.objects import EndpointSlice, Node, Service, decode

NODES = [f"node-{each}" for each in range(10)]
ADDRESSES = [f"192.0.2.{each}" for each in range(1, 201)]
ADDRESS = parse_address("192.0.2.1")
assert ADDRESS is not None


def test_one_that_goes_moves_only_what_it_had_and_one_that_comes_takes_only_what_it_wins() -> None:
    before = {address: elect(address, NODES) for address in ADDRESSES}
    for gone in NODES:
        for address, had in before.items():
            now = elect(address, [each for each in NODES if each != gone])
            assert (now == had) == (had != gone)
            assert now != gone


def test_addresses_are_spread_and_the_order_of_nodes_does_not_matter() -> None:
    chosen = Counter(elect(address, NODES) for address in ADDRESSES)
    assert set(chosen) == set(NODES)
    assert max(chosen.values()) <= 3 * len(ADDRESSES) / len(NODES)
    assert all(elect(address, NODES) == elect(address, reversed(NODES)) for address in ADDRESSES)
    assert elect("192.0.2.1", []) is None


def service(name: str = "web", policy: str = "Cluster", ingress: Any = (), **spec: Any) -> Service:
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": policy,
            "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}],
            **spec,
        },
        "status": {"loadBalancer": {"ingress": list(ingress)}},
    }
    found = decode(document)
    assert isinstance(found, Service)
    return found


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (service(ingress=[{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]), ["192.0.2.1", "2001:db8::1"]),
        (service(ingress=[{"ip": "192.0.2.1", "ipMode": "VIP"}, {"ip": "192.0.2.1"}]), ["192.0.2.1"]),
        (service(ingress=[{"ip": "192.0.2.1", "ipMode": "Proxy"}]), []),
        (service(ingress=[{"hostname": "lb.example"}]), []),
        (service(ingress=[{"ip": "192.0.2.1"}], type="NodePort"), []),
        (service(), []),
    ],
)
def test_addresses_of_a_service(found: Service, expected: list[str]) -> None:
    assert [str(each) for each in addresses_of(found)] == expected


READY: dict[str, Any] = {}
LEAVING = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
NOT_READY = {"ready": False}


def slice_of(*endpoints: tuple[str, dict[str, Any]], kind: str = "IPv4", port: str = "http") -> EndpointSlice:
    found = decode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": kind,
            "ports": [{"name": port, "port": 8080}],
            "endpoints": [
                {"addresses": [f"10.0.0.{number}"], "nodeName": node or None, "conditions": conditions}
                for number, (node, conditions) in enumerate(endpoints)
            ],
        }
    )
    assert isinstance(found, EndpointSlice)
    return found


@pytest.mark.parametrize(
    ("slices", "family", "expected"),
    [
        ([], 4, Endpoints(False, frozenset())),
        ([slice_of(("a", READY), ("b", READY), ("a", READY))], 4, Endpoints(True, frozenset("ab"))),
        ([slice_of(("a", READY)), slice_of(("", GONE), ("b", READY))], 4, Endpoints(True, frozenset("ab"))),
        ([slice_of(("a", READY), ("b", LEAVING), ("c", NOT_READY))], 4, Endpoints(True, frozenset("a"))),
        ([slice_of(("b", LEAVING), ("c", GONE), ("d", NOT_READY))], 4, Endpoints(True, frozenset("b"))),
        ([slice_of(("c", GONE), ("d", NOT_READY))], 4, Endpoints(False, frozenset())),
        ([slice_of(("", READY))], 4, Endpoints(True, frozenset())),
        ([slice_of(("a", READY), kind="IPv6")], 4, Endpoints(False, frozenset())),
        ([slice_of(("a", READY), kind="IPv6")], 6, Endpoints(True, frozenset("a"))),
        ([slice_of(("a", READY), port="other")], 4, Endpoints(False, frozenset())),
    ],
)
def test_where_endpoints_are(slices: list[EndpointSlice], family: int, expected: Endpoints) -> None:
    assert endpoints_of(service(), slices, family) == expected


def node(**more: Any) -> Node:
    labels, conditions = more.get("labels"), more.get("conditions", [])
    addresses = more.get("addresses", [{"type": "InternalIP", "address": "10.0.0.1"}])
    found = decode(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "a", "labels": labels},
            "status": {"addresses": addresses, "conditions": conditions},
        }
    )
    assert isinstance(found, Node)
    return found


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (node(), None),
        (node(conditions=[{"type": "NetworkUnavailable", "status": "False"}]), None),
        (node(conditions=[{"type": "Ready", "status": "False"}]), None),  # lags by tens of seconds: heartbeats decide
        (node(conditions=[{"type": "NetworkUnavailable", "status": "True"}]), "NetworkUnavailable"),
        (node(labels={"node.kubernetes.io/exclude-from-external-load-balancers": ""}), "exclude-from-external"),
        (node(addresses=[{"type": "Hostname", "address": "a"}]), "no InternalIP"),
    ],
)
def test_nodes_that_never_announce(found: Node, reason: str | None) -> None:
    refusal = node_refusal(found)
    assert refusal is None if reason is None else reason in (refusal or "")


def test_internal_ips_are_spelled_as_the_kernel_does() -> None:
    texts = ["FD00:0:0::0A", "fd00::a", "192.0.2.1", "nonsense"]
    found = node(addresses=[{"type": "InternalIP", "address": each} for each in texts])
    assert internal_ips(found) == ("fd00::a", "192.0.2.1")


ANYWHERE = Endpoints(True, frozenset("abc"))
NOWHERE = Endpoints(False, frozenset())
ALIVE = frozenset("abc")
Claims = dict[str, Claim]


def claim(endpoints: Endpoints = ANYWHERE, policy: str = "Cluster") -> Claim:
    return Claim(service(policy=policy), endpoints)


def nodes(**refusals: str) -> dict[str, str | None]:
    return {**dict.fromkeys("abc"), **refusals}


def judged(claims: Claims, alive: frozenset[str] = ALIVE, **refusals: str) -> Verdict:
    assert ADDRESS is not None
    return judge(ADDRESS, claims, nodes(**refusals), alive)


def test_exactly_one_announces() -> None:
    assert judged({"ns/web": claim()}) == Verdict(("ns/web",), elect("192.0.2.1", "abc"))


def test_the_dead_and_the_excluded_are_no_candidates() -> None:
    claims = {"ns/web": claim()}
    assert judged(claims, alive=frozenset("ab"), a="has the label x").node == "b"
    assert refusal("a", claims, nodes(a="has the label x"), ALIVE) == "has the label x"
    assert refusal("c", claims, nodes(), frozenset("ab")) == "its agent is not heard, or not ready yet"
    assert refusal("z", claims, nodes(), frozenset("abz")) == "is no Node of the cluster"
    assert refusal("b", claims, nodes(), ALIVE) is None


def test_nobody_announces_what_nobody_serves() -> None:
    verdict = judged({"ns/web": claim(NOWHERE)})
    assert verdict.node is None
    assert "no Service with this address has an endpoint" in verdict.reason


def test_why_there_is_nobody() -> None:
    elsewhere = {"ns/web": claim(Endpoints(True, frozenset("z")), "Local")}
    verdict = judged(elsewhere, alive=frozenset("ab"))
    assert verdict.node is None
    assert verdict.reason == (
        "no node may: a, b: has no endpoint of ns/web, whose externalTrafficPolicy is Local; "
        "c: its agent is not heard, or not ready yet"
    )


def test_local_policy_needs_an_endpoint_on_the_node() -> None:
    for where in "abc":
        assert judged({"ns/web": claim(Endpoints(True, frozenset(where)), "Local")}).node == where


def test_a_shared_address_has_one_node_for_all_its_services() -> None:
    shared = {
        "ns/web": claim(Endpoints(True, frozenset("ab")), "Local"),
        "ns/dns": claim(Endpoints(True, frozenset("bc")), "Local"),
        "ns/idle": claim(NOWHERE, "Local"),
    }
    assert judged(shared) == Verdict(("ns/dns", "ns/idle", "ns/web"), "b")
