"""Which node announces an address, and why the others do not.

Pure. Every node computes this for itself from what it knows of the cluster and of who is alive; nodes that know the
same elect the same, without a message. Rendezvous hashing: each node draws sha256(node#address), the lowest draw wins.
So a node that goes away moves only the addresses it had, one that comes takes only those it wins, and an address shared
by several Services is announced from one node, because the draw is per address.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

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
    """Who announces `address`: `node`, or None; `refused` says why not each of the other nodes ("" as node: all)."""

    address: str
    services: tuple[str, ...]
    node: str | None
    refused: Mapping[str, str] = field(default_factory=dict)


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


def node_refusal(node: Node) -> str | None:
    """Why this node never announces anything, by its Node object; None if it may."""
    if EXCLUDED_LABEL in node.labels:
        return f"has the label {EXCLUDED_LABEL}"
    if any(each.type == "NetworkUnavailable" and each.status == "True" for each in node.status.conditions):
        return "has the condition NetworkUnavailable"
    if not node.internal_ips:
        return "has no InternalIP"
    return None


def judge(
    address: Address,
    services: Mapping[str, tuple[Service, Endpoints]],
    nodes: Mapping[str, str | None],
    alive: Set[str],
) -> Verdict:
    """Elect the node for one address.

    services: by "namespace/name", all that have this address in their status, with their endpoints of its family.
    nodes: every Node's name -> `node_refusal`. alive: the nodes whose agents are there and ready to announce.
    """
    text, names = str(address), tuple(sorted(services))
    usable = {name: each for name, each in services.items() if each[1].anywhere}
    if not usable:
        return Verdict(text, names, None, {"": "no Service with this address has an endpoint that takes connections"})
    local = [
        endpoints.nodes for service, endpoints in usable.values() if service.spec.external_traffic_policy == "Local"
    ]
    refused: dict[str, str] = {}
    candidates: list[str] = []
    for node, reason in nodes.items():
        if reason is None and node not in alive:
            reason = "its agent is not heard, or not ready yet"
        if reason is None and any(node not in each for each in local):
            reason = "has no endpoint of its own, and externalTrafficPolicy is Local"
        if reason is None:
            candidates.append(node)
        else:
            refused[node] = reason
    chosen = elect(text, candidates)
    for node in candidates:
        if node != chosen:
            refused[node] = f"{chosen} drew lower for this address"
    return Verdict(text, names, chosen, refused)
