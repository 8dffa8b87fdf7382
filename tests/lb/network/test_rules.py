"""The nftables text; tests/netns/test_pod_network.py shows what it does to packets."""

import ipaddress
from collections.abc import Callable

import pytest

from lb.network.netlink import in_namespace
from lb.network.nft import chains_of
from lb.network.rules import TABLE, HostPort, Sets, chains, changes, host_ports_of, removal, ruleset
from tests.conftest import NetNs

ONE, TWO = ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("10.2.0.0/24")
SIX = ipaddress.ip_network("fd01::/64")
NODE = ipaddress.ip_address("192.168.1.1")
BEFORE = Sets(frozenset({ONE}), frozenset({ONE, TWO, SIX}), frozenset({NODE}))
AFTER = Sets(frozenset({ONE}), frozenset({ONE, SIX}), frozenset({NODE, ipaddress.ip_address("fd77::2")}))


def test_a_change_is_its_own_elements_only() -> None:
    assert changes(BEFORE, AFTER) == (
        "delete element ip causeway-network pods { 10.2.0.0/24 }\nadd element ip6 causeway-network nodes { fd77::2 }\n"
    )
    assert changes(BEFORE, BEFORE) == ""
    assert changes(Sets(), BEFORE, [4]).count("add element ip ") == 3


@pytest.mark.parametrize(
    ("host_ip", "want"),
    [
        ("", ["10.1.0.5", "fd01::5"]),
        ("0.0.0.0", ["10.1.0.5"]),
        ("::", ["fd01::5"]),
        ("192.168.1.1", ["10.1.0.5"]),
        ("fd77::1", ["fd01::5"]),
    ],
)
def test_host_ports_by_host_ip(host_ip: str, want: list[str]) -> None:
    found = host_ports_of(["10.1.0.5", "fd01::5"], 8080, 80, "tcp", host_ip)
    assert [str(each.pod) for each in found] == want
    assert all((each.host_ip is None) == (host_ip in ("", "0.0.0.0", "::")) for each in found)


def test_the_later_pod_has_a_port_that_two_want() -> None:
    old, new = ipaddress.ip_address("10.1.0.5"), ipaddress.ip_address("10.1.0.6")
    one, two = HostPort("tcp", 8080, old, 80), HostPort("tcp", 8080, new, 80)
    both = Sets(ports=(one, two))
    assert both.elements(4)["host-ports"] == {"tcp . 8080 : 10.1.0.6 . 80"}
    assert changes(Sets(ports=(one,)), both).splitlines() == [
        "delete element ip causeway-network host-ports { tcp . 8080 }",
        "add element ip causeway-network host-ports { tcp . 8080 : 10.1.0.6 . 80 }",
        "add element ip causeway-network themselves { 10.1.0.6 . 10.1.0.6 }",
    ]
    assert "host-ports" not in changes(both, Sets(ports=(two,)))  # the old one's end takes nothing away


@pytest.mark.netns
def test_nft_takes_it_again_and_again(netns: Callable[..., NetNs]) -> None:
    ns = netns()
    for text in (removal(), ruleset(Sets()), ruleset(BEFORE), changes(BEFORE, AFTER), changes(AFTER, BEFORE)):
        ns.run("nft", "-f", "-", stdin=text)
    for version in (4, 6):
        assert in_namespace(str(ns.path), lambda _, version=version: chains_of(version, TABLE)) == chains(version)
    listed = ns.run("nft", "list", "table", "ip", "causeway-network")
    assert "10.1.0.0/24, 10.2.0.0/24" in listed
    assert listed.count("masquerade fully-random") == 1
    ns.run("nft", "-f", "-", stdin=removal() * 2)
    assert ns.run("nft", "list", "tables") == ""
    assert in_namespace(str(ns.path), lambda _: chains_of(4, TABLE)) is None
