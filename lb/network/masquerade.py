"""What leaves the cluster gets the node's address: the nftables text. Pure.

A packet of one of this node's pods to anything that is neither a pod of the cluster nor a node is masqueraded, because
nobody outside has a route back to a pod. Between pods, and between pods and nodes, addresses stay as they are. Only the
pod's own node masquerades: a packet that passes through another node has been decided upon already.

Tables `ip causeway-network` and `ip6 causeway-network`. The chains are loaded once; a change of a node is one element.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lb.ipam import IPAddress, IPNetwork

TABLE = "causeway-network"
FAMILIES = {4: "ip", 6: "ip6"}
_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}


@dataclass(frozen=True, slots=True)
class Sets:
    """The three sets the rules ask: this node's pod networks, the cluster's, and the nodes' own addresses."""

    local: frozenset[IPNetwork] = frozenset()
    cluster: frozenset[IPNetwork] = frozenset()
    nodes: frozenset[IPAddress] = frozenset()

    def elements(self, version: int) -> Mapping[str, frozenset[str]]:
        return {
            "local-pods": frozenset(str(each) for each in self.local if each.version == version),
            "pods": frozenset(str(each) for each in self.cluster if each.version == version),
            "nodes": frozenset(str(each) for each in self.nodes if each.version == version),
        }


def ruleset(sets: Sets, versions: Iterable[int] = (4, 6)) -> str:
    """Everything, replacing what is there in one transaction: no packet sees the gap."""
    return "".join(_table(version, sets) for version in versions)


def changes(before: Sets, after: Sets, versions: Iterable[int] = (4, 6)) -> str:
    """The elements that turn `before` into `after`; "" if they are equal."""
    lines = []
    for version in versions:
        old, new = before.elements(version), after.elements(version)
        for verb, these, those in (("delete", old, new), ("add", new, old)):
            for name in these:
                if different := these[name] - those[name]:
                    listed = ", ".join(sorted(different))
                    lines.append(f"{verb} element {FAMILIES[version]} {TABLE} {name} {{ {listed} }}\n")
    return "".join(lines)


def removal(versions: Iterable[int] = (4, 6)) -> str:
    """Delete the tables, whether they are there or not (nft 1.0.6 has no `destroy`)."""
    return "".join(f"add table {FAMILIES[v]} {TABLE}\ndelete table {FAMILIES[v]} {TABLE}\n" for v in versions)


def _table(version: int, sets: Sets) -> str:
    family = FAMILIES[version]
    bodies = []
    for name, found in sets.elements(version).items():
        flags = "" if name == "nodes" else "\t\tflags interval\n"
        listed = f"\t\telements = {{ {', '.join(sorted(found))} }}\n" if found else ""
        bodies.append(f"\tset {name} {{\n\t\ttype {_TYPE[version]}\n{flags}{listed}\t}}\n")
    return (
        f"add table {family} {TABLE}\ndelete table {family} {TABLE}\n"
        f"table {family} {TABLE} {{\n{''.join(bodies)}"
        "\tchain postrouting {\n"
        "\t\ttype nat hook postrouting priority 100; policy accept;\n"
        f"\t\t{family} saddr != @local-pods return\n"
        f"\t\t{family} daddr @pods return\n"
        f"\t\t{family} daddr @nodes return\n"
        f"\t\t{family} daddr {_MULTICAST[version]} return\n"
        "\t\tmasquerade fully-random\n"
        "\t}\n}\n"
    )
