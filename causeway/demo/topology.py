"""Internet, router and nodes, as lines for `ip -batch`.

    internet 203.0.113.9, .80 ---- router ---- br0 192.0.2.1/24 ---- eth0 of node1 .11, node2 .12, node3 .13

The router forwards and answers nothing else: it has no route to pods or ClusterIPs, so nothing gets there by accident.
Every veth pair is made between two namespaces; none of its ends is ever in the machine's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from causeway.demo.layout import (
    CLIENT_IP,
    INTERNET,
    INTERNET_GATEWAY,
    LAN_GATEWAY,
    LAN_PREFIX_LENGTH,
    ROUTER,
    SERVER_IP,
    Layout,
)


@dataclass(frozen=True)
class NodePlace:
    """A node as the demo knows it: its name and its address on the network of the nodes."""

    name: str
    ip: str
    pod_cidr: str


@dataclass(frozen=True)
class Batch:
    """Lines for `ip -n NETNS -batch -`; `netns` None means that they name the namespace themselves."""

    netns: str | None
    lines: tuple[str, ...]


def add_namespaces(names: Sequence[str]) -> Batch:
    return Batch(None, tuple(f"netns add {name}" for name in names))


def links(layout: Layout, nodes: Sequence[NodePlace]) -> list[Batch]:
    """What makes the network once the namespaces exist: internet, router and one uplink for each node."""
    router = layout.netns(ROUTER)
    batches = [
        Batch(
            router,
            (
                "link set lo up",
                "link add br0 type bridge",
                "link set br0 up",
                f"address add {LAN_GATEWAY}/{LAN_PREFIX_LENGTH} dev br0",
                f"link add uplink type veth peer name eth0 netns {layout.netns(INTERNET)}",
                "link set uplink up",
                f"address add {INTERNET_GATEWAY}/24 dev uplink",
                *(line for node in nodes for line in port_lines(layout, node)),
            ),
        ),
        Batch(
            layout.netns(INTERNET),
            (
                "link set lo up",
                f"address add {CLIENT_IP}/24 dev eth0",
                f"address add {SERVER_IP}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {INTERNET_GATEWAY} src {CLIENT_IP}",
            ),
        ),
    ]
    batches += [
        Batch(
            layout.netns(node.name),
            (
                "link set lo up",
                "link set eth0 up",
                f"address add {node.ip}/{LAN_PREFIX_LENGTH} dev eth0",
                f"route add default via {LAN_GATEWAY}",
            ),
        )
        for node in nodes
    ]
    return batches


def port_lines(layout: Layout, node: NodePlace) -> tuple[str, ...]:
    """The router's end of a node's cable is called like the node: `link set node1 down` pulls it out."""
    return (
        f"link add {node.name} type veth peer name eth0 netns {layout.netns(node.name)}",
        f"link set {node.name} master br0 up",
    )


def holder(neighbours: Sequence[tuple[str, str]], macs: dict[str, str], address: str) -> str:
    """The node that answers ARP for `address`, as the router's table says, or "" when nobody does.

    neighbours: (address, MAC) as the router knows them. macs: MAC -> node.
    """
    return next((macs.get(mac, "") for known, mac in neighbours if known == address), "")
