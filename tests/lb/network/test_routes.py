"""Which routes lead to the other nodes."""

import ipaddress

from lb.cluster.objects import Metadata, Node, NodeAddress, NodeSpec, NodeStatus
from lb.network.routes import Grants, LocalAddress, Paths, Route, Uplink, difference, paths_to, tunnel_mac

UPLINK = Uplink(
    "eth0",
    1500,
    (
        LocalAddress(ipaddress.ip_interface("192.168.1.1/24"), "eth0"),
        LocalAddress(ipaddress.ip_interface("fd77::1/64"), "eth0"),
        LocalAddress(ipaddress.ip_interface("172.16.0.1/16"), "eth1"),
    ),
    ipaddress.ip_address("192.168.1.1"),
)
SOURCES = {4: ipaddress.ip_address("10.1.0.1"), 6: ipaddress.ip_address("fd01::1")}


def node(name: str, networks: list[str], addresses: list[str], created: str | None = None) -> Node:
    return Node(
        metadata=Metadata(name=name, creation_timestamp=created),
        spec=NodeSpec(pod_cidrs=tuple(networks)),
        status=NodeStatus(addresses=tuple(NodeAddress("InternalIP", each) for each in addresses)),
    )


def net(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def paths(networks: list[str], addresses: list[str], uplink: Uplink = UPLINK) -> Paths:
    return paths_to(node("n", networks, addresses), [net(each) for each in networks], uplink, SOURCES)


def planned(networks: list[str], addresses: list[str]) -> tuple[list[str], list[str]]:
    found = paths(networks, addresses)
    assert found.peer is None
    return [str(each) for each in found.routes], [each.reason for each in found.problems]


def test_one_route_for_each_network() -> None:
    routes, problems = planned(["10.2.0.0/24", "fd02::/64"], ["192.168.1.2", "fd77::2"])
    assert routes == ["10.2.0.0/24 via 192.168.1.2 dev eth0", "fd02::/64 via fd77::2 dev eth0"]
    assert problems == []


def test_over_the_interface_that_is_on_the_nodes_network() -> None:
    assert planned(["10.2.0.0/24"], ["172.16.9.9"])[0] == ["10.2.0.0/24 via 172.16.9.9 dev eth1"]


def test_the_first_address_of_a_family_counts() -> None:
    assert planned(["10.2.0.0/24"], ["192.168.1.2", "192.168.1.3"])[0] == ["10.2.0.0/24 via 192.168.1.2 dev eth0"]


def test_a_family_without_an_address() -> None:
    routes, problems = planned(["10.2.0.0/24", "fd02::/64"], ["192.168.1.2", "nonsense"])
    assert len(routes) == 1
    assert problems == ["no IPv6 InternalIP, so no route to fd02::/64"]


def test_a_node_that_shares_no_network_is_behind_the_tunnel() -> None:
    found = paths(["10.2.0.0/24", "fd02::/64"], ["192.168.9.2", "fd99::2"])
    assert [str(each) for each in found.routes] == [
        "10.2.0.0/24 via 10.2.0.1 dev causeway-vxlan src 10.1.0.1",
        "fd02::/64 via fd02::1 dev causeway-vxlan src fd01::1",
    ]
    assert found.peer is not None
    assert (found.peer.mac, str(found.peer.outer)) == (tunnel_mac("n"), "192.168.9.2")
    assert [str(each) for each in found.peer.gateways] == ["10.2.0.1", "fd02::1"]
    assert found.problems == ()


def test_a_tunnel_needs_one_ip_version_in_common() -> None:
    found = paths(["10.2.0.0/24"], ["fd99::2"])
    assert (found.routes, found.peer) == ((), None)
    assert "shares no network with this node, nor an IP version" in found.problems[0].reason
    six = Uplink("eth0", 1500, UPLINK.networks[1:2], ipaddress.ip_address("fd77::1"))
    assert str(getattr(paths(["10.2.0.0/24"], ["fd99::2"], six).peer, "outer", None)) == "fd99::2"
    assert (UPLINK.tunnel_mtu, six.tunnel_mtu) == (1450, 1430)


def test_a_node_that_is_near_in_one_family_only() -> None:
    routes, problems = planned(["10.2.0.0/24", "fd02::/64"], ["192.168.1.2", "fd99::2"])
    assert routes == ["10.2.0.0/24 via 192.168.1.2 dev eth0"]
    assert problems == ["fd99::2 is on none of this node's networks, so there is no route to fd02::/64"]


def test_the_older_node_keeps_a_network() -> None:
    old = node("z", ["10.2.0.0/23"], [], "2026-01-01T00:00:00Z")
    young = node("a", ["10.2.1.0/24", "10.3.0.0/24"], [], "2026-02-01T00:00:00Z")
    manifest = node("0", ["10.3.0.0/25"], [])
    grants = Grants()
    problems = grants.rebuild([manifest, young, old])
    assert grants.of("z") == (net("10.2.0.0/23"),)
    assert grants.of("a") == (net("10.3.0.0/24"),)
    assert grants.of("0") == ()
    assert [each.reason for each in problems] == [
        "10.2.1.0/24 overlaps with a network of Node z",
        "10.3.0.0/25 overlaps with a network of Node a",
    ]


def test_a_network_is_free_again_when_its_node_goes() -> None:
    grants = Grants()
    first, second = node("a", ["10.2.0.0/24", "fd02::/64"], []), node("b", ["10.2.0.0/24"], [])
    assert grants.replace(first) == []
    assert grants.replace(first) == []  # again: not in its own way
    assert len(grants.replace(second)) == 1
    grants.remove("a")
    assert grants.replace(second) == []
    assert grants.of("b") == (net("10.2.0.0/24"),)


def test_networks_overlap_with_a_larger_one_before_them() -> None:
    grants = Grants()
    grants.replace(node("a", ["10.0.0.0/8"], []))
    assert len(grants.replace(node("b", ["10.200.0.0/24"], []))) == 1
    assert grants.replace(node("c", ["11.0.0.0/8", "9.255.255.0/24"], [])) == []


def test_difference() -> None:
    gateway, other = ipaddress.ip_address("192.168.1.2"), ipaddress.ip_address("192.168.1.3")
    kept, gone = Route(net("10.2.0.0/24"), gateway, "eth0"), Route(net("10.9.0.0/24"), gateway, "eth0")
    moved, now = Route(net("10.3.0.0/24"), gateway, "eth0"), Route(net("10.3.0.0/24"), other, "eth0")
    new = Route(net("10.4.0.0/24"))
    assert difference([kept, gone, moved], [kept, now, new]) == ([gone], [now, new])
    assert difference([kept], [kept]) == ([], [])
