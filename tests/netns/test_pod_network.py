"""The pod network with real packets: addresses unchanged between pods, the node's address towards the outside."""

import pytest

from tests.netns.lan import Lan, seen_from

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_who_sees_which_address(lan: Lan, mode: str) -> None:
    one, two = lan.node(1, "--pod-network", mode), lan.node(2, "--pod-network", mode)
    for node in (one, two):
        node.start(wait=False)
    for node in (one, two):
        node.start() if node.process is None else None
    outside = lan.machine("outside", 9)
    from tests.netns.lan import wait_for

    wait_for(lambda: one.conflist.exists() and two.conflist.exists())
    client, neighbour, remote = lan.pod(one), lan.pod(one), lan.pod(two)
    for ns in (client.ns, neighbour.ns, remote.ns, outside, one.ns, two.ns):
        lan.serve(ns)
    for protocol in ("tcp", "udp"):
        for version in (0, 1):
            mine = client.ips[version]
            assert client.ask(neighbour.ips[version], protocol) == mine
            assert client.ask(remote.ips[version], protocol) == mine
            assert client.ask(mine, protocol) == mine
            assert client.ask([one.address, one.address6][version], protocol) == mine
            assert client.ask([two.address, two.address6][version], protocol) == mine
            assert client.ask(["192.168.70.19", "fd70::19"][version], protocol) == [one.address, one.address6][version]
            assert (
                seen_from(one.ns, mine, protocol) in ([one.address, "10.70.1.1"], [one.address6, "fd70:1::1"])[version]
            )
            assert seen_from(two.ns, mine, protocol) == [two.address, two.address6][version]
