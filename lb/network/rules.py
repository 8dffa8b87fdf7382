"""The nftables text of the pod network: masquerade, and ports of the node that lead to pods. Pure.

Masquerade: a packet of one of this node's pods to anything that is neither a pod of the cluster nor a node gets the
node's address, because nobody outside has a route back to a pod. Between pods, and between pods and nodes, addresses
stay as they are. Only the pod's own node does it: a packet that passes through another node has been decided upon.

Host ports (CNI capability portMappings): a port at this node's addresses leads to a pod, the client's address
unchanged, except where the answer would not come back this way: from the pod itself and from 127.0.0.1.

Tables `ip causeway-network` and `ip6 causeway-network`. The chains are loaded once; a change is elements of sets.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lb.ipam import IPAddress, IPNetwork

TABLE = "causeway-network"
FAMILIES = {4: "ip", 6: "ip6"}
_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_LOOPBACK = {4: "127.0.0.0/8", 6: "::1"}


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port of the node that leads to a port of a pod. `host_ip` None: at all of the node's addresses."""

    protocol: str
    port: int
    pod: IPAddress
    pod_port: int
    host_ip: IPAddress | None = None


def host_ports_of(
    addresses: Iterable[str], host_port: int, pod_port: int, protocol: str, host_ip: str = ""
) -> list[HostPort]:
    """What one port mapping of a pod with these addresses means. A host IP of 0.0.0.0 or :: stands for its family.

    Raises ValueError when the host IP is not an address.
    """
    at = ipaddress.ip_address(host_ip) if host_ip else None
    pods = [ipaddress.ip_address(each) for each in addresses]
    return [
        HostPort(protocol, host_port, pod, pod_port, None if at is None or at.is_unspecified else at)
        for pod in pods
        if at is None or at.version == pod.version
    ]


@dataclass(frozen=True, slots=True)
class Sets:
    """What the rules ask: this node's pod networks, the cluster's, the nodes' own addresses, and host ports."""

    local: frozenset[IPNetwork] = frozenset()
    cluster: frozenset[IPNetwork] = frozenset()
    nodes: frozenset[IPAddress] = frozenset()
    ports: tuple[HostPort, ...] = ()
    """Where two ask for the same port, the later one has it: it replaces one that is on its way out."""

    def elements(self, version: int) -> Mapping[str, frozenset[str]]:
        ports: dict[str, str] = {}
        ports_at: dict[str, str] = {}
        for each in self.ports:
            if each.pod.version != version:
                continue
            key, value = f"{each.protocol} . {each.port}", f"{each.pod} . {each.pod_port}"
            if each.host_ip is None:
                ports[key] = value
            else:
                ports_at[f"{each.host_ip} . {key}"] = value
        return {
            "local-pods": frozenset(str(each) for each in self.local if each.version == version),
            "pods": frozenset(str(each) for each in self.cluster if each.version == version),
            "nodes": frozenset(str(each) for each in self.nodes if each.version == version),
            "host-ports": frozenset(f"{key} : {value}" for key, value in ports.items()),
            "host-ports-at": frozenset(f"{key} : {value}" for key, value in ports_at.items()),
            "themselves": frozenset(f"{each.pod} . {each.pod}" for each in self.ports if each.pod.version == version),
        }


def union(sets: Iterable[Sets]) -> Sets:
    every = list(sets)
    return Sets(
        local=frozenset().union(*(each.local for each in every)),
        cluster=frozenset().union(*(each.cluster for each in every)),
        nodes=frozenset().union(*(each.nodes for each in every)),
        ports=tuple(port for each in every for port in each.ports),
    )


def ruleset(sets: Sets, versions: Iterable[int] = (4, 6)) -> str:
    """Everything, replacing what is there in one transaction: no packet sees the gap."""
    return "".join(_table(version, sets) for version in versions)


def changes(before: Sets, after: Sets, versions: Iterable[int] = (4, 6)) -> str:
    """The elements that turn `before` into `after`; "" if they are equal."""
    lines = []
    for version in versions:
        old, new = before.elements(version), after.elements(version)
        for name in old:
            where = f"element {FAMILIES[version]} {TABLE} {name}"
            if gone := sorted(each.partition(" : ")[0] for each in old[name] - new[name]):
                lines.append(f"delete {where} {{ {', '.join(gone)} }}\n")
            if come := sorted(new[name] - old[name]):
                lines.append(f"add {where} {{ {', '.join(come)} }}\n")
    return "".join(lines)


def chains(version: int) -> set[str]:
    """The chains that the table has."""
    return {"host-ports", "prerouting", "output", "postrouting"} | ({"guard"} if version == 4 else set())


def removal(versions: Iterable[int] = (4, 6)) -> str:
    """Delete the tables, whether they are there or not (nft 1.0.6 has no `destroy`)."""
    return "".join(f"add table {FAMILIES[v]} {TABLE}\ndelete table {FAMILIES[v]} {TABLE}\n" for v in versions)


def _table(version: int, sets: Sets) -> str:
    family, kind = FAMILIES[version], _TYPE[version]
    port = "inet_proto . inet_service"
    shapes = {
        "local-pods": ("set", kind, "flags interval"),
        "pods": ("set", kind, "flags interval"),
        "nodes": ("set", kind, ""),
        "host-ports": ("map", f"{port} : {kind} . inet_service", ""),
        "host-ports-at": ("map", f"{kind} . {port} : {kind} . inet_service", ""),
        "themselves": ("set", f"{kind} . {kind}", ""),
    }
    lines = [f"add table {family} {TABLE}", f"delete table {family} {TABLE}", f"table {family} {TABLE} {{"]
    for name, found in sets.elements(version).items():
        what, of, flags = shapes[name]
        listed = f"elements = {{ {', '.join(sorted(found))} }}" if found else ""
        lines.append(f"\t{what} {name} {{ type {of}; {flags and flags + ';'} {listed} }}")
    lines += [
        "\tchain host-ports {",
        f"\t\tdnat to {family} daddr . meta l4proto . th dport map @host-ports-at",
        "\t\tdnat to meta l4proto . th dport map @host-ports",
        "\t}",
    ]
    if version == 4:
        # route_localnet, without which 127.0.0.1 has no host ports, would let pods ask the node's own 127.0.0.1.
        guard = 'type filter hook prerouting priority -300; iifname != "lo" ip daddr 127.0.0.0/8 drop;'
        lines.append(f"\tchain guard {{ {guard} }}")
    local = "fib daddr type local" if version == 4 else "ip6 daddr != ::1 fib daddr type local"
    for hook in ("prerouting", "output"):
        lines.append(f"\tchain {hook} {{ type nat hook {hook} priority -100; {local} jump host-ports; }}")
    lines += [
        "\tchain postrouting {",
        "\t\ttype nat hook postrouting priority 100; policy accept;",
        f"\t\tct status dnat {family} saddr . {family} daddr @themselves masquerade",
        f"\t\tct status dnat {family} saddr {_LOOPBACK[version]} {family} daddr != {_LOOPBACK[version]} masquerade",
        f"\t\t{family} saddr != @local-pods return",
        f"\t\t{family} daddr @pods return",
        f"\t\t{family} daddr @nodes return",
        f"\t\t{family} daddr {_MULTICAST[version]} return",
        "\t\tmasquerade fully-random",
        "\t}",
        "}",
    ]
    return "\n".join(lines) + "\n"
