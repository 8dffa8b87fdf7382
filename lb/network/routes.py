"""Which routes lead to the pods of the cluster's other nodes. Pure.

One plain route per pod network of a node, over that node's InternalIP, where the two nodes share a network; where they
do not, a route through a tunnel (lb/network/vxlan.py).
"""

import bisect
import contextlib
import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lb.cluster.objects import Node
from lb.cluster.problems import Problem
from lb.ipam import IPAddress, IPNetwork
from lb.network.pod import mac

TUNNEL = "causeway-vxlan"
"""The name of the tunnel's interface."""

IPInterface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Route:
    """One route in the kernel's main table. `gateway` None: the destination is on the link itself.

    `interface` "" and no gateway: an unreachable route, which answers instead of sending on.
    """

    destination: IPNetwork
    gateway: IPAddress | None = None
    interface: str = ""
    source: IPAddress | None = None
    """The address this node itself sends from, where the kernel's own choice would not be answered."""

    def __str__(self) -> str:
        if not self.interface:
            return f"unreachable {self.destination}"
        via = f" via {self.gateway}" if self.gateway else ""
        source = f" src {self.source}" if self.source else ""
        return f"{self.destination}{via} dev {self.interface}{source}"


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """An address of this node, with its prefix length, and the interface that has it."""

    address: IPInterface
    interface: str


@dataclass(frozen=True, slots=True)
class Uplink:
    """Where the other nodes are: the interface that has this node's InternalIP."""

    interface: str
    mtu: int
    networks: tuple[LocalAddress, ...]
    outer: IPAddress | None = None
    """The InternalIP that tunnels start from."""

    @property
    def tunnel_mtu(self) -> int:
        """What is left of the MTU inside VXLAN: Ethernet 14, VXLAN 8, UDP 8, IP 20 or 40 bytes."""
        return self.mtu - (50 if self.outer is None or self.outer.version == 4 else 70)

    def interface_towards(self, address: IPAddress) -> str:
        """The interface on whose network an address is; "" if it is on none of ours."""
        return next((each.interface for each in self.networks if address in each.address.network), "")


@dataclass(frozen=True, slots=True)
class Peer:
    """A node at the other end of the tunnel: its MAC in there, its own address, its addresses inside."""

    mac: str
    outer: IPAddress
    gateways: tuple[IPAddress, ...]


@dataclass(frozen=True, slots=True)
class Paths:
    """How one other node's pods are reached, and what stands in the way."""

    routes: tuple[Route, ...] = ()
    peer: Peer | None = None
    problems: tuple[Problem, ...] = ()


def paths_to(node: Node, networks: Sequence[IPNetwork], uplink: Uplink, sources: Mapping[int, IPAddress]) -> Paths:
    """The way to one other node's pods (`networks`, as granted). `sources`: our addresses in the tunnel, by version.

    A node whose first address (of either family) is on none of our networks is reached by the tunnel altogether.
    """
    routes: list[Route] = []
    problems: list[Problem] = []
    addresses = {each.version: each for each in reversed(addresses_of(node))}
    peer = None
    if addresses and not any(uplink.interface_towards(each) for each in addresses.values()):
        outer = addresses.get(uplink.outer.version) if uplink.outer else None
        if outer is None:
            reason = f"it shares no network with this node, nor an IP version with its InternalIP {uplink.outer}"
            problems.append(
                Problem(str(node.key), "status.addresses", reason, "give both nodes an address of one version")
            )
            return Paths(problems=tuple(problems))
        inside = [each for each in networks if each.version in sources and each.num_addresses > 1]
        peer = Peer(tunnel_mac(node.metadata.name), outer, tuple(each[1] for each in inside))
        routes = [Route(each, each[1], TUNNEL, sources[each.version]) for each in inside]
        return Paths(tuple(routes), peer)
    for network in networks:
        gateway = addresses.get(network.version)
        if gateway is None:
            reason = f"no IPv{network.version} InternalIP, so no route to {network}"
            advice = "give the kubelet both addresses: --node-ip IPV4,IPV6"
        elif interface := uplink.interface_towards(gateway):
            routes.append(Route(network, gateway, interface))
            continue
        else:
            reason = f"{gateway} is on none of this node's networks, so there is no route to {network}"
            advice = "put the nodes on one network in both IP versions, or in neither"
        problems.append(Problem(str(node.key), "status.addresses", reason, advice))
    return Paths(tuple(routes), None, tuple(problems))


def tunnel_mac(node: str) -> str:
    """The MAC of a node's end of the tunnel: it follows from the name, so every node knows every other one's."""
    return mac(hashlib.sha256(f"{TUNNEL} of {node}".encode()).digest()[:5])


def networks_of(node: Node) -> list[tuple[str, str, IPNetwork | None]]:
    """(field, text, network) of each pod network of a node; the network is None where the text is not one."""
    found: list[tuple[str, str, IPNetwork | None]] = []
    for number, text in enumerate(node.pod_cidrs):
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            network = None
        found.append((f"spec.podCIDRs[{number}]", text, network))
    return found


def bad_network(node: Node, field: str, text: str) -> Problem:
    return Problem(str(node.key), field, f"{text!r} is not a network", "write it as 10.244.1.0/24, no host bits set")


class Grants:
    """Which node has which pod networks, no two of which overlap: the node that was granted one first keeps it.

    `replace` costs O(log nodes), so a node's change does not depend on the size of the cluster.
    """

    def __init__(self) -> None:
        # By IP version: [(first address, last address, node name)], in order.
        self._taken: dict[int, list[tuple[int, int, str]]] = {4: [], 6: []}
        self._granted: dict[str, tuple[IPNetwork, ...]] = {}

    def of(self, name: str) -> tuple[IPNetwork, ...]:
        return self._granted.get(name, ())

    def rebuild(self, nodes: Iterable[Node]) -> list[Problem]:
        """Start again with all nodes, oldest first, so that every node of the cluster comes to the same result."""
        self._taken = {4: [], 6: []}
        self._granted = {}
        return [problem for node in sorted(nodes, key=_age) for problem in self.replace(node)]

    def replace(self, node: Node) -> list[Problem]:
        """Grant a node what it claims now, except what another one has."""
        self.remove(node.metadata.name)
        mine: list[IPNetwork] = []
        problems: list[Problem] = []
        for field, text, network in networks_of(node):
            if network is None:
                problems.append(bad_network(node, field, text))
                continue
            taken = self._taken[network.version]
            span = (int(network.network_address), int(network.broadcast_address), node.metadata.name)
            place = bisect.bisect(taken, span)
            # They do not overlap one another, so only the neighbours can overlap with this one.
            other = next((each for each in taken[max(0, place - 1) : place + 1] if _overlap(each, span)), None)
            if other is None:
                taken.insert(place, span)
                mine.append(network)
            else:
                reason = f"{network} overlaps with a network of Node {other[2]}"
                problems.append(Problem(str(node.key), field, reason, "give each node a network of its own"))
        self._granted[node.metadata.name] = tuple(mine)
        return problems

    def remove(self, name: str) -> None:
        for network in self._granted.pop(name, ()):
            span = (int(network.network_address), int(network.broadcast_address), name)
            self._taken[network.version].remove(span)


def _overlap(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def difference(present: Sequence[Route], wanted: Iterable[Route]) -> tuple[list[Route], list[Route]]:
    """(to remove, to put): what turns `present` into `wanted`. A route put replaces one to the same destination."""
    want: Mapping[IPNetwork, Route] = {each.destination: each for each in wanted}
    have = set(present)
    remove = [each for each in present if each.destination not in want]
    put = [each for each in want.values() if each not in have]
    return remove, put


def _age(node: Node) -> tuple[bool, str, str]:
    # Nodes without a creation time (manifests) come after those that have one, then by name.
    created = node.metadata.creation_timestamp
    return (created is None, created or "", node.metadata.name)


def addresses_of(node: Node) -> list[IPAddress]:
    """The InternalIPs of a node, without what is not an address."""
    found = []
    for text in node.internal_ips:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_address(text))
    return found
