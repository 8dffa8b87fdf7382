"""At which addresses a Service answers; what becomes of packets there is in test_expectations.py."""

import ipaddress
from typing import Any

import pytest

from lb.cluster.objects import EndpointSlice, Node, Service, decode
from lb.service.classes import Kind
from lb.service.vips import (
    Role,
    Vip,
    WantedVip,
    address_of,
    cluster_ips_of,
    facts_of,
    network_of,
    packed_of,
    problems_of,
    wanted_vips,
)
from tests.lb.service.expectations import CIP, CIP6, EXTERNAL, LB1, NODE, balanced, node_document, service, slices


def node(**changes: Any) -> Node:
    found = decode({**node_document(), **changes})
    assert isinstance(found, Node)
    return found


FACTS = facts_of(node(), "one")


def vips(document: dict[str, Any], *more: dict[str, Any]) -> list[WantedVip]:
    found = decode(document)
    assert isinstance(found, Service)
    of_it = [each for each in map(decode, more) if isinstance(each, EndpointSlice)]
    return list(wanted_vips(found, of_it, FACTS))


def where(found: list[WantedVip]) -> dict[str, Role]:
    return {str(each.vip): each.role for each in found}


def test_every_role() -> None:
    assert where(vips(balanced())) == {
        f"{CIP}:80/tcp": Role.CLUSTER_IP,
        f"{EXTERNAL}:80/tcp": Role.EXTERNAL_IP,
        f"{LB1}:80/tcp": Role.LOAD_BALANCER,
        f"{NODE}:30080/tcp": Role.NODE_PORT,
        "[fd50::11]:30080/tcp": Role.NODE_PORT,
    }


def test_a_cluster_ip_service_has_no_other_address() -> None:
    document = service(status=[{"ip": LB1}])
    assert list(where(vips(document))) == [f"{CIP}:80/tcp"]


def test_both_families_with_their_own_endpoints() -> None:
    found = vips(service(clusterIP=CIP, clusterIPs=[CIP, CIP6]), slices("L"), slices("l", family="IPv6"))
    assert [[str(each) for each in one.endpoints.cluster] for one in found] == [
        ["10.244.1.11:8080"],
        ["[fd44:0:0:1::11]:8080"],
    ]


def test_one_port_for_two_protocols() -> None:
    ports = [{"name": "a", "port": 53, "protocol": "TCP"}, {"name": "b", "port": 53, "protocol": "UDP"}]
    assert list(where(vips(service(ports=ports)))) == [f"{CIP}:53/tcp", f"{CIP}:53/udp"]


def test_an_address_twice_is_one_vip() -> None:
    assert list(where(vips(service(externalIPs=[CIP, EXTERNAL, EXTERNAL])))) == [f"{CIP}:80/tcp", f"{EXTERNAL}:80/tcp"]


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_labels_that_take_a_service_out_of_our_hands(label: str) -> None:
    document = balanced()
    document["metadata"]["labels"] = {label: ""}
    assert not vips(document)
    found = decode(document)
    assert isinstance(found, Service)
    assert not cluster_ips_of(found)


@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"])
def test_labels_that_take_a_slice_out_of_our_hands(label: str) -> None:
    others = slices("R")
    others["metadata"]["labels"][label] = ""
    others["metadata"]["name"] += "-others"
    (found,) = vips(service(), slices("L"), others)
    assert [str(each) for each in found.endpoints.cluster] == ["10.244.1.11:8080"]
    (found,) = vips(service(), others)
    assert not found.endpoints.all


def test_kinds_follow_the_two_policies() -> None:
    found = {each.role: each.kind for each in vips(balanced(externalTrafficPolicy="Local"))}
    assert found[Role.CLUSTER_IP] is Kind.INTERNAL
    assert found[Role.NODE_PORT] is Kind.EXTERNAL_LOCAL
    found = {each.role: each.kind for each in vips(balanced(internalTrafficPolicy="Local"))}
    assert found[Role.CLUSTER_IP] is Kind.INTERNAL_LOCAL
    assert found[Role.LOAD_BALANCER] is Kind.EXTERNAL


def test_source_ranges_bind_load_balancer_addresses_only_and_do_not_overlap() -> None:
    found = {each.role: each.ranges for each in vips(balanced(loadBalancerSourceRanges=["10.0.0.0/8", "10.1.0.0/16"]))}
    assert found.pop(Role.LOAD_BALANCER) == (ipaddress.ip_network("10.0.0.0/8"),)
    assert set(found.values()) == {None}


@pytest.mark.parametrize("written", [["fd00::/8"], ["nonsense"]])
def test_ranges_of_the_other_family_or_unreadable_let_nobody_in(written: list[str]) -> None:
    found = {each.role: each.ranges for each in vips(balanced(loadBalancerSourceRanges=written))}
    assert found[Role.LOAD_BALANCER] == ()


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [
        ({}, 0),
        ({"sessionAffinity": "ClientIP"}, 10800),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}, 7),
        ({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}, 0),
    ],
)
def test_affinity(spec: dict[str, Any], seconds: int) -> None:
    assert vips(service(**spec))[0].sticky_seconds == seconds


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.000.002.010", "192.0.2.10"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("FD00:0::1", "fd00::1"),
        ("192.0.2", None),
        ("192.0.2.256", None),
        ("192.0.2.-1", None),
        ("192.0.2.1_0", None),
        ("192.0.2.\u0661", None),
        ("fd00::g", None),
        ("example.org", None),
        ("", None),
    ],
)
def test_addresses_however_they_are_written(written: str, address: str | None) -> None:
    found = address_of(written)
    assert (found and str(found)) == address
    assert packed_of(written) == (found and found.packed)


@pytest.mark.parametrize(
    ("written", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 10.1.2.3/8 ", "10.0.0.0/8"),
        ("fd00::1/8", "fd00::/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0", None),
        ("10.0.0.0/33", None),
        ("10.0.0.0/-1", None),
        ("10.0.0.0/", None),
        ("/8", None),
    ],
)
def test_ranges_however_they_are_written(written: str, network: str | None) -> None:
    found = network_of(written)
    assert (found and str(found)) == network


def test_what_cannot_be_read_is_told_and_left_out() -> None:
    document = balanced(clusterIPs=[CIP, "ten"], loadBalancerSourceRanges=["10.0.0.0/8", "far"])
    document["spec"]["externalIPs"] = [EXTERNAL, "out"]
    document["spec"]["ports"].append({"name": "odd", "port": 9, "protocol": "DCCP"})
    found = decode(document)
    assert isinstance(found, Service)
    assert [each.field for each in problems_of(found)] == [
        "spec.clusterIPs[1]",
        "spec.externalIPs[1]",
        "spec.loadBalancerSourceRanges[1]",
        "spec.ports[1].protocol",
    ]
    assert len(vips(document)) == 5


def test_facts_of_a_node() -> None:
    assert FACTS.here == ("one", "")
    assert [str(each) for each in FACTS.addresses] == [NODE, "fd50::11"]
    assert [str(each) for each in FACTS.pods] == ["10.244.1.0/24", "fd44:0:0:1::/64"]
    assert FACTS.detection.pods_known
    labelled = node(metadata={"name": "one", "labels": {"topology.kubernetes.io/zone": "east"}})
    assert facts_of(labelled, "one").here == ("one", "east")


def test_facts_of_a_node_not_seen_yet() -> None:
    found = facts_of(None, "one")
    assert found.here == ("one", "")
    assert not found.addresses
    assert not found.detection.pods_known


def test_a_vip_prints_as_an_address_with_port_and_protocol() -> None:
    assert str(Vip(ipaddress.ip_address("fd00::1"), "UDP", 53)) == "[fd00::1]:53/udp"
