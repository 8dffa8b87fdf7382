"""How a pod is attached, as a plan."""

import ipaddress

from lb.ipam import Pool
from lb.network.pod import Mode, PodLink, alias, host_interface, parse_alias, plan_link

POOLS = [Pool(ipaddress.ip_network("10.1.0.0/24")), Pool(ipaddress.ip_network("fd01::/64"))]
ADDRESSES = [ipaddress.ip_address("10.1.0.5"), ipaddress.ip_address("fd01::5")]


def link(mode: Mode, container: str = "c1") -> PodLink:
    return plan_link((container, "eth0"), "/run/netns/x", mode=mode, addresses=ADDRESSES, pools=POOLS, mtu=1450)


def test_routed() -> None:
    got = link("routed")
    assert [(str(each), str(each.gateway)) for each in got.addresses] == [
        ("10.1.0.5/32", "169.254.1.1"),
        ("fd01::5/128", "fe80::1"),
    ]


def test_bridge() -> None:
    got = link("bridge")
    assert [(str(each), str(each.gateway)) for each in got.addresses] == [
        ("10.1.0.5/24", "10.1.0.1"),
        ("fd01::5/64", "fd01::1"),
    ]


def test_names_and_macs_follow_from_the_attachment() -> None:
    one, again, other = link("routed"), link("bridge"), link("routed", "c2")
    assert one.host_interface == again.host_interface == host_interface(("c1", "eth0"))
    assert one.host_interface != other.host_interface
    assert len(one.host_interface) <= 15
    assert one.pod_mac == again.pod_mac == other.pod_mac  # follows from the address
    macs = {one.host_mac, one.pod_mac, other.host_mac}
    assert len(macs) == 3
    assert all(int(each[:2], 16) & 3 == 2 for each in macs)  # locally administered, unicast


def test_the_label_says_what_the_record_says() -> None:
    assert parse_alias(alias(("c1", "eth0"), ADDRESSES)) == (("c1", "eth0"), tuple(ADDRESSES))
    assert alias(("c" * 300, "eth0"), ADDRESSES) == ""
    for text in ("", "uplink to the router", "causeway a b", "causeway a b c", "other a b 10.1.0.5"):
        assert parse_alias(text) is None
