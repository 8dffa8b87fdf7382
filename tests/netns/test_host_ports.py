"""Ports of the node that lead to pods, with real packets."""

import pytest

from tests.netns.lan import PORT, Lan, seen_from

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("mode", ["routed", "bridge"])
def test_who_reaches_a_host_port(lan: Lan, mode: str) -> None:
    one, two = lan.node(1, "--pod-network", mode), lan.node(2, "--pod-network", mode)
    outside = lan.machine("outside", 9)
    for node in (one, two):
        node.launch()
    for node in (one, two):
        node.wait_ready()
    server, remote = lan.pod(one, add=False), lan.pod(two)
    mappings = [
        {"hostPort": 8080, "containerPort": PORT, "protocol": "tcp"},
        {"hostPort": 8081, "containerPort": PORT, "protocol": "udp"},
        {"hostPort": 8082, "containerPort": PORT, "protocol": "tcp", "hostIP": "192.168.70.99"},
    ]
    added = one.cni("ADD", server.container, str(server.ns.path), runtimeConfig={"portMappings": mappings})
    assert added.status == 0, added.stdout
    server.ips = added.ips
    lan.serve(server.ns)
    for version, mine in enumerate([one.address, one.address6]):
        far = ["192.168.70.19", "fd70::19"][version]
        assert seen_from(outside, mine, port=8080) == far
        assert seen_from(outside, mine, "udp", 8081) == far
        assert remote.ask(mine, port=8080) == remote.ips[version]
        assert server.ask(mine, port=8080)  # itself
        assert seen_from(one.ns, mine, port=8080)
        assert seen_from(outside, mine, port=8082) == ""  # another address of the node
    assert seen_from(one.ns, "127.0.0.1", port=8080)
    assert seen_from(one.ns, "127.0.0.1", "udp", 8081)

    # The successor takes the port over, UDP flows too; the old one's end takes nothing away.
    successor = lan.pod(one, add=False)
    added = one.cni("ADD", successor.container, str(successor.ns.path), runtimeConfig={"portMappings": mappings})
    lan.serve(successor.ns)
    one.cni("DEL", server.container, str(server.ns.path))
    assert seen_from(outside, one.address, port=8080) == "192.168.70.19"
    assert seen_from(outside, one.address, "udp", 8081) == "192.168.70.19"
    one.kill()
    one.start()
    assert seen_from(outside, one.address, port=8080) == "192.168.70.19"
    one.cni("DEL", successor.container, str(successor.ns.path))
    assert seen_from(outside, one.address, port=8080) == ""
    assert "8080" not in one.ns.run("nft", "list", "table", "ip", "causeway-network")


def test_the_nodes_own_loopback_is_not_open_to_pods(lan: Lan) -> None:
    node = lan.node(1)
    node.start()
    pod = lan.pod(node, add=False)
    mappings = [{"hostPort": 8080, "containerPort": PORT, "protocol": "tcp"}]
    assert node.cni("ADD", pod.container, str(pod.ns.path), runtimeConfig={"portMappings": mappings}).status == 0
    # What a hostile pod can do: its 127.0.0.1 leads to the node.
    pod.ns.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    pod.ns.run("ip", "route", "del", "local", "127.0.0.0/8", "dev", "lo", "table", "local")
    pod.ns.run("ip", "route", "del", "127.0.0.1", "table", "local")
    pod.ns.run("ip", "route", "add", "127.0.0.1", "via", "169.254.1.1", "dev", "eth0", "src", "10.70.1.2")
    arrived = "type filter hook input priority 0; iifname cw* ip daddr 127.0.0.1 tcp dport 9000 counter;"
    node.ns.run("nft", "-f", "-", stdin=f"table ip count {{ chain input {{ {arrived} }}\n}}\n")
    assert pod.ask("127.0.0.1", port=9000) == ""
    assert "counter packets 0" in node.ns.run("nft", "list", "table", "ip", "count")
    node.ns.run("nft", "delete", "chain", "ip", "causeway-network", "guard")
    assert pod.ask("127.0.0.1", port=9000) == ""
    assert "counter packets 0" not in node.ns.run("nft", "list", "table", "ip", "count")  # so it was the guard
