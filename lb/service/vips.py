"""At which addresses a Service answers on this node, and how: Service + endpoints + node -> wanted VIPs. Pure."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from lb.cluster.objects import EndpointSlice, Key, Node, Service, ServicePort
from lb.cluster.problems import Problem
from lb.endpoints import ZONE_LABEL, Here, PortEndpoints, port_endpoints
from lb.service.classes import Class, Detection, Kind

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
"""IANA protocol numbers; all three have the destination port at the same place."""

OTHER_PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class Vip(NamedTuple):
    """An address, protocol ("TCP", "UDP", "SCTP") and port at which a Service answers."""

    address: Address
    protocol: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}/{self.protocol.lower()}"


class Role(Enum):
    """Why the Service answers at this address; the value is the field that says so."""

    CLUSTER_IP = "spec.clusterIPs"
    NODE_PORT = "spec.ports[].nodePort"
    EXTERNAL_IP = "spec.externalIPs"
    LOAD_BALANCER = "status.loadBalancer.ingress"


@dataclass(frozen=True, slots=True)
class WantedVip:
    """What one Service wants to be true of one VIP."""

    vip: Vip
    service: Key
    port_name: str
    role: Role
    kind: Kind
    endpoints: PortEndpoints
    """Of the VIP's family."""
    sticky_seconds: int = 0
    ranges: tuple[Network, ...] | None = None
    """Sources let in, of the VIP's family; None: all."""
    since: str = ""
    """When the Service was made: of several that want one VIP, the oldest gets it. "~" if it does not say."""

    @property
    def local_policy(self) -> bool:
        return self.kind in (Kind.INTERNAL_LOCAL, Kind.EXTERNAL_LOCAL)

    def class_with(self, cluster: int, local: int) -> Class:
        """Its class, given how many endpoints of each policy can be used."""
        if self.kind is Kind.INTERNAL_LOCAL:
            cluster = min(cluster, 1)  # only whether there are any elsewhere: dropped, not refused
        if not self.local_policy:
            local = 0
        return Class(self.kind, cluster, local, self.sticky_seconds if cluster or local else 0, self.ranges is not None)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What of this node bears on its Services."""

    here: Here
    addresses: tuple[Address, ...] = ()
    """Where NodePorts are served: by default the InternalIPs of the Node."""
    pods: tuple[Network, ...] = ()
    """The node's own pod ranges; empty: pods cannot be told from other sources."""
    service_cidrs: tuple[Network, ...] = ()
    """Ranges in which unallocated addresses are dropped; empty: not known."""
    masquerade_all: bool = False

    @property
    def detection(self) -> Detection:
        return Detection(bool(self.pods), self.masquerade_all)


def facts_of(
    node: Node | None,
    name: str,
    *,
    node_port_addresses: Sequence[Network] = (),
    service_cidrs: Sequence[Network] = (),
    masquerade_all: bool = False,
) -> NodeFacts:
    """node_port_addresses: ranges; NodePorts are then served at all the Node's addresses within them."""
    if node is None:
        return NodeFacts(Here(name), service_cidrs=tuple(service_cidrs), masquerade_all=masquerade_all)
    every = [address_of(each.address) for each in node.status.addresses if each.type in ("InternalIP", "ExternalIP")]
    internal = [address_of(each) for each in node.internal_ips]
    chosen = (
        [each for each in every if each and _within(each, node_port_addresses)] if node_port_addresses else internal
    )
    pods = [network_of(each) for each in node.pod_cidrs]
    return NodeFacts(
        Here(name, node.labels.get(ZONE_LABEL, "")),
        tuple(dict.fromkeys(each for each in chosen if each)),
        tuple(each for each in pods if each),
        tuple(service_cidrs),
        masquerade_all,
    )


def is_ours(service: Service) -> bool:
    """Whether a node has to do anything for this Service: headless and ExternalName ones are for DNS alone."""
    if service.spec.type == "ExternalName" or service.spec.cluster_ip == "None" or "None" in service.spec.cluster_ips:
        return False
    return OTHER_PROXY_LABEL not in service.labels and HEADLESS_LABEL not in service.labels


def our_slices(slices: Iterable[EndpointSlice]) -> list[EndpointSlice]:
    """Those a node looks at: the two labels count on a slice, too, where somebody has written it by hand."""
    return [each for each in slices if OTHER_PROXY_LABEL not in each.labels and HEADLESS_LABEL not in each.labels]


def wanted_vips(service: Service, slices: Sequence[EndpointSlice], facts: NodeFacts) -> Iterator[WantedVip]:
    """All VIPs of a Service on this node. Two of its ports may not have the same VIP; of two, the later is left out."""
    if not is_ours(service):
        return
    seen: set[Vip] = set()
    spec = service.spec
    sticky = 0
    if spec.session_affinity == "ClientIP":
        config = spec.session_affinity_config
        sticky = config.client_ip.timeout_seconds if config else 10800
    internal = Kind.INTERNAL_LOCAL if spec.internal_traffic_policy == "Local" else Kind.INTERNAL
    external = Kind.EXTERNAL_LOCAL if spec.external_traffic_policy == "Local" else Kind.EXTERNAL
    since = service.metadata.creation_timestamp or "~"
    slices = our_slices(slices)
    for port in spec.ports:
        if port.protocol not in PROTOCOLS:
            continue
        by_family: dict[int, PortEndpoints] = {}
        for role, address, number in _addresses(service, port, facts):
            vip = Vip(address, port.protocol, number)
            if vip in seen:
                continue
            seen.add(vip)
            version = address.version
            if version not in by_family:
                family = "IPv4" if version == 4 else "IPv6"
                by_family[version] = port_endpoints(service, port, slices, here=facts.here, family=family)
            yield WantedVip(
                vip, service.key, port.name, role, internal if role is Role.CLUSTER_IP else external,
                by_family[version], sticky, _ranges(service, vip, facts) if role is Role.LOAD_BALANCER else None, since,
            )  # fmt: skip


def cluster_ips_of(service: Service) -> tuple[Address, ...]:
    """Its ClusterIPs, normalised; a port that a ClusterIP does not have is refused."""
    if not is_ours(service):
        return ()
    listed = service.spec.cluster_ips or ((service.spec.cluster_ip,) if service.spec.cluster_ip else ())
    return tuple(each for each in map(address_of, listed) if each)


def _addresses(service: Service, port: ServicePort, facts: NodeFacts) -> Iterator[tuple[Role, Address, int]]:
    for address in cluster_ips_of(service):
        yield Role.CLUSTER_IP, address, port.port
    for listed in service.spec.external_ips:
        if found := address_of(listed):
            yield Role.EXTERNAL_IP, found, port.port
    if service.spec.type == "LoadBalancer":
        for ingress in service.status.load_balancer.ingress:
            # With ipMode Proxy the traffic has to pass the load balancer itself, also from inside.
            if ingress.ip_mode != "Proxy" and (found := address_of(ingress.ip)):
                yield Role.LOAD_BALANCER, found, port.port
    if port.node_port and service.spec.type in ("NodePort", "LoadBalancer"):
        for address in facts.addresses:
            yield Role.NODE_PORT, address, port.node_port


def _ranges(service: Service, vip: Vip, facts: NodeFacts) -> tuple[Network, ...] | None:
    """Sources let in; None: all. Ranges of the other family only, or none that can be read, let nobody in."""
    listed = service.spec.load_balancer_source_ranges
    if not listed:
        return None
    found = [each for each in map(network_of, listed) if each and each.version == vip.address.version]
    # The node asking its own load-balancer address may carry that very address as its source.
    if any(_within(address, found) for address in facts.addresses):
        found.append(ipaddress.ip_network(vip.address))
    return tuple(_collapsed(found))


def _collapsed(networks: Sequence[Network]) -> Iterator[Network]:
    """Without overlaps, which the kernel refuses."""
    fours = [each for each in networks if isinstance(each, ipaddress.IPv4Network)]
    yield from ipaddress.collapse_addresses(fours)
    yield from ipaddress.collapse_addresses(each for each in networks if isinstance(each, ipaddress.IPv6Network))


def _within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def problems_of(service: Service) -> Iterator[Problem]:
    """Addresses and ranges of a Service that cannot be read; they are left out, the rest of the Service works."""
    name = str(service.key)
    spec = service.spec
    for field, listed in (("clusterIPs", spec.cluster_ips), ("externalIPs", spec.external_ips)):
        for index, each in enumerate(listed):
            if each != "None" and address_of(each) is None:
                yield Problem(
                    name, f"spec.{field}[{index}]", f"{each!r} is not an IP address", "write one, as 192.0.2.1"
                )
    for index, each in enumerate(spec.load_balancer_source_ranges):
        if network_of(each) is None:
            where = f"spec.loadBalancerSourceRanges[{index}]"
            yield Problem(name, where, f"{each!r} is not a range", "write one, as 192.0.2.0/24")
    for index, port in enumerate(spec.ports):
        if port.protocol not in PROTOCOLS:
            where = f"spec.ports[{index}].protocol"
            yield Problem(name, where, f"{port.protocol!r} is not served", f"use one of: {', '.join(PROTOCOLS)}")


@lru_cache(maxsize=65536)
def address_of(written: str) -> Address | None:
    """An IP address however it is written: leading zeros are decimal, as Kubernetes has always read them.

    An IPv4 address written as ::ffff:192.0.2.1 is that IPv4 address. None if it is none.
    """
    packed = packed_of(written)
    return None if packed is None else ipaddress.ip_address(packed)


def packed_of(written: str) -> bytes | None:
    """The same as 4 or 16 bytes. A first load reads 40,000 of them, so the common form goes first."""
    text = written.strip()
    if ":" not in text:
        parts = text.split(".")
        if len(parts) != 4 or not all(part.isdecimal() and part.isascii() for part in parts):
            return None
        try:
            return bytes(map(int, parts))
        except ValueError:
            return None  # a part above 255
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address).packed


def network_of(written: str) -> Network | None:
    """A range such as 192.0.2.0/24, blanks around it and bits behind the prefix tolerated. None if it is none."""
    base, slash, length = written.strip().partition("/")
    address = address_of(base)
    if address is None or not slash or not length.isdigit() or int(length) > address.max_prefixlen:
        return None
    return ipaddress.ip_network(f"{address}/{length}", strict=False)
