"""The pod network with real packets: addresses unchanged between pods, the node's address towards the outside."""

import json
from collections.abc import Callable

import pytest

from tests.conftest import NetNs
from tests.netns.lan import Lan, LanNode, seen_from, wait_for

pytestmark = pytest.mark.netns


def started(*nodes: LanNode) -> None:
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()


@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_who_sees_which_address(lan: Lan, mode: str) -> None:
    one, two = lan.node(1, "--pod-network", mode), lan.node(2, "--pod-network", mode)
    outside = lan.machine("outside", 9)
    started(one, two)
    client, neighbour, remote = lan.pod(one), lan.pod(one), lan.pod(two)
    for ns in (client.ns, neighbour.ns, remote.ns, outside, one.ns, two.ns):
        lan.serve(ns)
    for version, far in enumerate(["192.168.70.19", "fd70::19"]):
        mine = client.ips[version]
        own_node, other_node = [one.address, one.address6][version], [two.address, two.address6][version]
        for protocol in ("tcp", "udp"):
            assert client.ask(neighbour.ips[version], protocol) == mine
            assert client.ask(remote.ips[version], protocol) == mine
            assert client.ask(mine, protocol) == mine
            assert client.ask(own_node, protocol) == mine
            assert client.ask(other_node, protocol) == mine
            assert client.ask(far, protocol) == own_node
            assert seen_from(two.ns, mine, protocol) == other_node
            assert seen_from(one.ns, mine, protocol) in (own_node, ["10.70.1.1", "fd70:1::1"][version])


def test_a_pod_cannot_send_with_another_ones_address(lan: Lan) -> None:
    one = lan.node(1)
    one.start()
    honest, liar = lan.pod(one), lan.pod(one)
    lan.serve(honest.ns)
    liar.ns.run("ip", "addr", "add", "10.70.1.200/32", "dev", "eth0")
    liar.ns.run("ip", "route", "replace", "default", "via", "169.254.1.1", "dev", "eth0", "src", "10.70.1.200")
    assert liar.ask(honest.ips[0]) == ""
    liar.ns.run("ip", "route", "replace", "default", "via", "169.254.1.1", "dev", "eth0", "src", liar.ips[0])
    assert liar.ask(honest.ips[0]) == liar.ips[0]


def test_both_modes_on_one_node(lan: Lan) -> None:
    """After a change of --pod-network the pods of before keep their way of being attached, and reach the new ones."""
    often = ("--drift-seconds", "0.5")
    one = lan.node(1, *often)
    one.start()
    routed = lan.pod(one)
    one.stop()
    one.flags = (*often, "--pod-network", "bridge")
    one.start()
    bridged = lan.pod(one)
    for each in (routed, bridged):
        assert one.cni("CHECK", each.container, str(each.ns.path)).status == 0
    for each in (routed, bridged):
        lan.serve(each.ns)
    assert routed.ask(bridged.ips[0]) == routed.ips[0]
    assert bridged.ask(routed.ips[0]) == bridged.ips[0]
    one.stop()
    one.flags = often
    one.start()
    assert "causeway0" in one.ns.run("ip", "-br", "link")
    assert one.cni("DEL", bridged.container, str(bridged.ns.path)).status == 0
    wait_for(lambda: "causeway0" not in one.ns.run("ip", "-br", "link"))
    wait_for(lambda: "unreachable 10.70.1.0/24" in one.routes())


def test_routes_follow_the_nodes(lan: Lan) -> None:
    one, two = lan.node(1), lan.node(2)
    # What an earlier agent left: a node that is gone since, and a route that has moved.
    one.ns.run("ip", "route", "add", "10.70.8.0/24", "via", "192.168.70.18", "dev", "eth0", "proto", "73")
    one.ns.run("ip", "route", "add", "10.70.2.0/24", "via", "192.168.70.18", "dev", "eth0", "proto", "73")
    one.ns.run("ip", "route", "add", "10.99.0.0/24", "via", "192.168.70.18", "dev", "eth0", "proto", "static")
    started(one, two)
    assert "10.70.8.0/24" not in one.routes()
    assert "10.70.2.0/24 via 192.168.70.12 dev eth0" in one.routes()
    assert "fd70:2::/64 via fd70::12 dev eth0" in one.routes("-6")
    assert "unreachable 10.70.1.0/24" in one.routes()
    assert "10.99.0.0/24" in one.ns.run("ip", "route")  # not ours

    lan.write_node(3)
    wait_for(lambda: "10.70.3.0/24 via 192.168.70.13 dev eth0" in one.routes())
    assert "10.70.3.0/24" in one.ns.run("nft", "list", "set", "ip", "causeway-network", "pods")
    lan.write_node(3, podCIDRs=["10.70.33.0/24"])
    wait_for(lambda: "10.70.33.0/24" in one.routes() and "10.70.3.0/24" not in one.routes())
    (lan.manifests / "node3.yaml").unlink()
    wait_for(lambda: "10.70.33.0/24" not in one.routes())
    wait_for(lambda: "10.70.33.0/24" not in one.ns.run("nft", "list", "set", "ip", "causeway-network", "pods"))


def test_what_somebody_deletes_comes_back(lan: Lan) -> None:
    one, two = lan.node(1, "--drift-seconds", "0.5"), lan.node(2)
    started(one, two)
    pod, remote = lan.pod(one), lan.pod(two)
    lan.serve(pod.ns)
    one.ns.run("ip", "route", "del", "10.70.2.0/24")
    one.ns.run("ip", "route", "del", pod.ips[0])
    one.ns.run("nft", "delete", "table", "ip", "causeway-network")
    one.conflist.unlink()
    one.ns.run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    wait_for(lambda: "10.70.2.0/24" in one.routes() and f"{pod.ips[0]} dev" in one.routes())
    assert remote.ask(pod.ips[0]) == remote.ips[0]
    wait_for(lambda: "causeway-network" in one.ns.run("nft", "list", "tables", "ip"))
    wait_for(one.conflist.exists)


def test_a_bad_node_harms_only_itself(lan: Lan) -> None:
    one = lan.node(1)
    lan.write_node(2)
    lan.write_node(3, podCIDRs=["10.70.2.128/25", "fd70:3::/64"])
    lan.write_node(4, podCIDRs=["10.70.4.7/24"])
    one.start()
    assert "10.70.2.0/24 via 192.168.70.12" in one.routes()
    assert "fd70:3::/64" in one.routes("-6")
    state = json.loads((one.run_dir / "network.json").read_text())
    problems = "\n".join(state["problems"])
    assert "Node node3: spec.podCIDRs[0]: 10.70.2.128/25 overlaps with a network of Node node2" in problems
    assert "10.70.4.7/24" in problems or "10.70.4.7/24" in one.log
    assert state["ready"]
    assert (state["mode"], state["uplink"], state["mtu"]) == ("routed", "eth0", 1500)


def test_the_uplinks_mtu_reaches_the_pod(lan: Lan) -> None:
    one = lan.node(1)
    one.ns.run("ip", "link", "set", "eth0", "mtu", "1400")
    one.start()
    pod = lan.pod(one)
    assert "mtu 1400" in pod.ns.run("ip", "link", "show", "eth0")


def test_nodes_wait_for_their_object(lan: Lan) -> None:
    one = lan.node(1, manifest=False)
    one.launch()
    wait_for(lambda: one.says("waiting for Node node1"))
    lan.write_node(1, podCIDRs=[])
    wait_for(lambda: one.says("waiting for spec.podCIDRs of Node node1"))
    assert not one.conflist.exists()
    lan.write_node(1)
    one.wait_ready()


def test_a_node_whose_address_is_not_here(lan: Lan, netns: Callable[..., NetNs]) -> None:
    one = lan.node(1)
    one.ns.run("ip", "addr", "flush", "dev", "eth0")
    one.ns.run("ip", "addr", "add", "192.168.70.77/24", "dev", "eth0")
    one.launch()
    wait_for(lambda: one.says("no interface has 192.168.70.11"))
    assert one.says("--uplink")
    one.ns.run("ip", "addr", "add", "192.168.70.11/24", "dev", "eth0")
    one.wait_ready()


def test_two_nodes_with_one_address(lan: Lan) -> None:
    """A mistake, or one being replaced by the other: the address stays a node's as long as one has it."""
    one = lan.node(1)
    for number in (2, 3):
        lan.write_node(number, ["192.168.70.12", "fd70::12"])
    one.start()

    def nodes() -> str:
        return one.ns.run("nft", "list", "set", "ip", "causeway-network", "nodes")

    (lan.manifests / "node3.yaml").unlink()
    wait_for(lambda: "10.70.3.0/24" not in one.routes())
    wait_for(lambda: "10.70.3.0/24" not in one.ns.run("nft", "list", "set", "ip", "causeway-network", "pods"))
    assert "192.168.70.12" in nodes()
    (lan.manifests / "node2.yaml").unlink()
    wait_for(lambda: "192.168.70.12" not in nodes())


def test_routes_come_back_with_the_uplink(lan: Lan) -> None:
    one = lan.node(1, "--drift-seconds", "600")
    lan.write_node(2)
    one.start()
    one.ns.run("ip", "link", "set", "eth0", "down")
    assert "10.70.2.0/24" not in one.routes()
    one.ns.run("ip", "link", "set", "eth0", "up")
    one.ns.run("ip", "addr", "add", f"{one.address6}/64", "dev", "eth0", "nodad")  # the kernel dropped it
    wait_for(lambda: "10.70.2.0/24" in one.routes() and "fd70:2::/64" in one.routes("-6"))


def test_half_closed_connections_are_remembered_for_an_hour(lan: Lan) -> None:
    one = lan.node(1, "--drift-seconds", "0.2")
    one.start()
    name = "net.netfilter.nf_conntrack_tcp_timeout_close_wait"
    wait_for(lambda: one.ns.run("sysctl", "-n", name).strip() == "3600")
