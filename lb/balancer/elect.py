"""Which node announces an address, and why the others do not.

Pure. Every node computes this for itself from what it knows of the cluster and of who is alive; nodes that know the
same elect the same, without a message. Rendezvous hashing: each node draws sha256(node#address), the lowest draw wins.
So a node that goes away moves only the addresses it had, one that comes takes only those it wins, and an address shared
by several Services is announced from one node, because the draw is per address.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from lb.balancer.pools import Address, parse_address
from lb.cluster.objects import EndpointSlice, Node, Service
from lb.endpoints import port_endpoints

EXCLUDED_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
_FAMILIES = {4: "IPv4", 6: "IPv6"}


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the endpoints of one Service are, for one address family."""

    anywhere: bool
    """Is there one that takes connections: ready, or else still serving while it terminates?"""
    nodes: frozenset[str]
    """The nodes with such an endpoint."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who announces an address: `node`, or nobody for a `reason`."""

    services: tuple[str, ...]
    """ "namespace/name" of all Services that have it"""
    node: str | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A Service that has an address, and its endpoints of the address's family."""

    service: Service
    endpoints: Endpoints


def draw(node: str, address: str) -> bytes:
    return hashlib.sha256(f"{node}#{address}".encode()).digest()


def elect(address: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the lowest draw for this address; None without candidates."""
    return min(candidates, key=lambda node: (draw(node, address), node), default=None)


def addresses_of(service: Service) -> tuple[Address, ...]:
    """The addresses to announce for a Service: those in its status that nodes answer for themselves."""
    if service.spec.type != "LoadBalancer":
        return ()
    found = (
        parse_address(each.ip)
        for each in service.status.load_balancer.ingress
        if each.ip_mode in (None, "", "VIP")  # with "Proxy" somebody in front of the nodes has the address
    )
    return tuple(dict.fromkeys(each for each in found if each is not None))


def endpoints_of(service: Service, slices: Sequence[EndpointSlice], family: int) -> Endpoints:
    """Ready endpoints of any port; only if there is none at all, those that still serve while they terminate.

    A node whose endpoints all terminate would still serve them, but new traffic is not drawn there while another node
    has ready ones.
    """
    name = _FAMILIES[family]
    found = [each for port in service.spec.ports for each in port_endpoints(service, port, slices, family=name).all]
    ready = {each.node for each in found if each.ready}
    nodes = ready or {each.node for each in found if each.serving and each.terminating}
    return Endpoints(bool(nodes), frozenset(nodes - {""}))


def internal_ips(node: Node) -> tuple[str, ...]:
    """The node's InternalIPs as the kernel spells them; what is no address is left out."""
    parsed = map(parse_address, node.internal_ips)
    return tuple(dict.fromkeys(str(each) for each in parsed if each is not None))


def node_refusal(node: Node) -> str | None:
    """Why this node never announces anything, by its Node object; None if it may."""
    if EXCLUDED_LABEL in node.labels:
        return f"has the label {EXCLUDED_LABEL}"
    if any(each.type == "NetworkUnavailable" and each.status == "True" for each in node.status.conditions):
        return "has the condition NetworkUnavailable"
    if not internal_ips(node):
        return "has no InternalIP"
    return None


def judge(address: Address, claims: Mapping[str, Claim], nodes: Mapping[str, str | None], alive: Set[str]) -> Verdict:
    """Elect the node for one address.

    claims: by "namespace/name", of all Services that have it. nodes: every Node's name -> its `node_refusal`.
    alive: the nodes whose agents are there and ready to announce.
    """
    services = tuple(sorted(claims))
    if not any(each.endpoints.anywhere for each in claims.values()):
        return Verdict(services, None, "no Service with this address has an endpoint that takes connections")
    candidates = [node for node in alive if refusal(node, claims, nodes, alive) is None]
    node = elect(str(address), candidates)
    return Verdict(services, node, "" if node else "no node may: " + _summary(claims, nodes, alive))


def refusal(node: str, claims: Mapping[str, Claim], nodes: Mapping[str, str | None], alive: Set[str]) -> str | None:
    """Why this node is no candidate for the address with these claims; None if it is one."""
    by_node = nodes.get(node, "is no Node of the cluster")
    if by_node is not None:
        return by_node
    if node not in alive:
        return "its agent is not heard, or not ready yet"
    for name, each in claims.items():
        local = each.service.spec.external_traffic_policy == "Local"
        if local and each.endpoints.anywhere and node not in each.endpoints.nodes:
            return f"has no endpoint of {name}, whose externalTrafficPolicy is Local"
    return None


def _summary(claims: Mapping[str, Claim], nodes: Mapping[str, str | None], alive: Set[str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for node in sorted(nodes):
        by_reason.setdefault(refusal(node, claims, nodes, alive) or "", []).append(node)
    parts = []
    for reason, found in by_reason.items():
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        parts.append(f"{', '.join(found[:3])}{more}: {reason}")
    return "; ".join(parts) or "there is no Node"
