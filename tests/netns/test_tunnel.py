"""Nodes that share no network: pods reach each other through VXLAN, addresses unchanged."""

import json

import pytest

from tests.netns.lan import Lan, seen_from, wait_for

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_pods_behind_a_router(lan: Lan, mode: str) -> None:
    one, two = lan.node(1, "--pod-network", mode), lan.node(2, "--pod-network", mode)
    far = lan.far_node(3, "--pod-network", mode)
    for node in lan.nodes:
        node.launch()
    for node in lan.nodes:
        node.wait_ready()
    client, neighbour, remote = lan.pod(one), lan.pod(two), lan.pod(far)
    for ns in (client.ns, neighbour.ns, remote.ns, one.ns, far.ns):
        lan.serve(ns)
    inside = json.loads(far.ns.run("ip", "-j", "link", "show", "causeway-vxlan"))
    assert inside[0]["mtu"] == 1450
    assert "mtu 1450" in client.ns.run("ip", "link", "show", "eth0")
    for version in (0, 1):
        for protocol in ("tcp", "udp"):
            assert client.ask(remote.ips[version], protocol) == client.ips[version]
            assert remote.ask(client.ips[version], protocol) == remote.ips[version]
            assert client.ask(neighbour.ips[version], protocol) == client.ips[version]  # by a plain route
            # The routers between know no pod, so a node behind them sees the node; a pod there sees the node's end.
            assert client.ask([far.address, far.address6][version], protocol) == [one.address, one.address6][version]
            assert seen_from(one.ns, remote.ips[version], protocol) == ["10.70.1.1", "fd70:1::1"][version]
    assert client.ns.run("ping", "-c1", "-W2", "-Mdo", "-s1422", remote.ips[0])


def test_the_tunnel_follows_the_nodes_and_heals(lan: Lan) -> None:
    one = lan.node(1, "--drift-seconds", "0.5")
    one.start()
    assert "causeway-vxlan" not in one.ns.run("ip", "-br", "link")
    for number in (3, 4):
        lan.write_node(number, [f"192.168.71.{10 + number}", f"fd71::{10 + number}"])
    wait_for(lambda: "10.70.4.0/24 via 10.70.4.1 dev causeway-vxlan src 10.70.1.1 onlink" in one.routes())
    wait_for(lambda: "fd70:3::/64 via fd70:3::1 dev causeway-vxlan src fd70:1::1" in one.routes("-6"))

    def entries() -> str:
        return one.ns.run("bridge", "fdb", "show", "dev", "causeway-vxlan", check=False)

    assert "192.168.71.13" in entries()
    lan.write_node(3, ["192.168.71.99"])
    wait_for(lambda: "192.168.71.99" in entries() and "192.168.71.13" not in entries())
    one.ns.run("ip", "link", "del", "causeway-vxlan")
    wait_for(lambda: "10.70.4.0/24 via" in one.routes() and "192.168.71.14" in entries())
    lan.write_node(3, ["192.168.70.13", "fd70::13"])  # moved to our network
    wait_for(lambda: "10.70.3.0/24 via 192.168.70.13 dev eth0" in one.routes() and "192.168.71.99" not in entries())
    (lan.manifests / "node4.yaml").unlink()
    wait_for(lambda: "10.70.4.0/24" not in one.routes())
    wait_for(lambda: "causeway-vxlan" not in one.ns.run("ip", "-br", "link"))


def test_a_cluster_of_ipv6_alone(lan: Lan) -> None:
    one, two, far = lan.node(1), lan.node(2), lan.far_node(3)
    for node in lan.nodes:
        lan.write_node(node.number, [node.address6], podCIDRs=[f"fd70:{node.number}::/64"])
        node.launch()
    for node in lan.nodes:
        node.wait_ready()
    outside = lan.machine("outside", 9)
    client, neighbour, near, remote = lan.pod(one), lan.pod(one), lan.pod(two), lan.pod(far)
    for ns in (outside, neighbour.ns, near.ns, remote.ns):
        lan.serve(ns)
    assert client.ips == ["fd70:1::2"]
    assert "mtu 1430" in client.ns.run("ip", "link", "show", "eth0")
    for protocol in ("tcp", "udp"):
        for each in (neighbour, near, remote):
            assert client.ask(each.ips[0], protocol) == client.ips[0]
        assert client.ask("fd70::19", protocol) == one.address6
    assert one.cni("CHECK", client.container, str(client.ns.path)).status == 0
