"""The nftables text; tests/netns/test_pod_network.py shows what it does to packets."""

import ipaddress
from collections.abc import Callable

import pytest

from lb.network.masquerade import Sets, changes, removal, ruleset
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


@pytest.mark.netns
def test_nft_takes_it_again_and_again(netns: Callable[..., NetNs]) -> None:
    ns = netns()
    for text in (removal(), ruleset(Sets()), ruleset(BEFORE), changes(BEFORE, AFTER), changes(AFTER, BEFORE)):
        ns.run("nft", "-f", "-", stdin=text)
    listed = ns.run("nft", "list", "table", "ip", "causeway-network")
    assert "10.1.0.0/24, 10.2.0.0/24" in listed
    assert listed.count("masquerade") == 1
    ns.run("nft", "-f", "-", stdin=removal() * 2)
    assert ns.run("nft", "list", "tables") == ""
