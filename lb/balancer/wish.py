"""What a Service asks of the balancer: families, a pool, certain addresses, sharing.

Pure. MetalLB's annotations are read beside our own, so that manifests written for it go on working; ours win.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lb.balancer.pools import Address, parse_address
from lb.cluster.objects import Key, Service

CLASS = "causeway.dev/balancer"
"""Our spec.loadBalancerClass; a Service without a class is ours too."""

_METALLB = ("metallb.io", "metallb.universe.tf")
ADDRESSES = ("causeway.dev/load-balancer-ips", *(f"{prefix}/loadBalancerIPs" for prefix in _METALLB))
POOL = ("causeway.dev/address-pool", *(f"{prefix}/address-pool" for prefix in _METALLB))
SHARING = ("causeway.dev/allow-shared-ip", *(f"{prefix}/allow-shared-ip" for prefix in _METALLB))

_FAMILIES = {"IPv4": 4, "IPv6": 6}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a Service cannot have what it asks for; the parts of a Problem."""

    field: str
    reason: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Sharing:
    """May two Services have one address? Only with one `key`, disjoint ports, and equal `backends`."""

    key: str
    ports: frozenset[tuple[str, int]]
    """(protocol, port)"""
    backends: str
    """Which nodes can serve it: an address is announced from one node, which must be right for all its Services."""

    def allows(self, other: "Sharing") -> bool:
        return (
            bool(self.key)
            and self.key == other.key
            and self.backends == other.backends
            and not (self.ports & other.ports)
        )


@dataclass(frozen=True, slots=True)
class Wish:
    key: Key
    families: tuple[int, ...]
    """4 and 6, primary first; () means one of whichever family there is."""
    may_lack: bool
    """PreferDualStack: one family is enough if the pool has not both."""
    pool: str
    pool_field: str
    requested: tuple[Address, ...]
    requested_field: str
    sharing: Sharing
    refusal: Refusal | None
    """The object contradicts itself; it keeps what it has."""


def is_ours(service: Service, class_name: str = CLASS) -> bool:
    spec = service.spec
    return spec.type == "LoadBalancer" and spec.load_balancer_class in (None, "", class_name)


def order_of(service: Service) -> tuple[bool, str, str, str]:
    """Older Services first, then by name; those without a time stamp (manifests) after all that have one."""
    meta = service.metadata
    return (meta.creation_timestamp is None, meta.creation_timestamp or "", meta.namespace, meta.name)


def wish_of(service: Service) -> Wish:
    """Read the wish; what cannot be read becomes its `refusal`."""
    pool_field, pool = _annotation(service, POOL)
    requested_field, requested, refusal = _requested(service)
    families, family_refusal = _families(service)
    refusal = refusal or family_refusal or _mismatch(requested_field, requested, families)
    return Wish(
        key=service.key,
        families=families,
        may_lack=service.spec.ip_family_policy == "PreferDualStack",
        pool=pool,
        pool_field=pool_field,
        requested=() if refusal else requested,
        requested_field=requested_field,
        sharing=_sharing(service),
        refusal=refusal,
    )


def _annotation(service: Service, names: Sequence[str]) -> tuple[str, str]:
    for name in names:
        value = service.annotations.get(name, "").strip()
        if value:
            return f"metadata.annotations[{name}]", value
    return "", ""


def _requested(service: Service) -> tuple[str, tuple[Address, ...], Refusal | None]:
    field, text = _annotation(service, ADDRESSES)
    plain = service.spec.load_balancer_ip.strip()
    if plain and not text:
        field, text = "spec.loadBalancerIP", plain
    found: list[Address] = []
    for part in filter(None, map(str.strip, text.split(","))):
        address = parse_address(part)
        if address is None:
            return field, (), Refusal(field, f"{part!r} is not an IP address", "write addresses separated by commas")
        if any(each.version == address.version for each in found):
            return field, (), Refusal(field, f"asks for two IPv{address.version} addresses", "give one per family")
        found.append(address)
    if plain and parse_address(plain) not in found:
        advice = f"remove spec.loadBalancerIP, or the annotation {field}"
        return field, (), Refusal(field, f"{text} and spec.loadBalancerIP {plain} are both asked for", advice)
    return field, tuple(found), None


def _families(service: Service) -> tuple[tuple[int, ...], Refusal | None]:
    spec = service.spec
    unknown = [each for each in spec.ip_families if each not in _FAMILIES]
    if unknown:
        return (), Refusal("spec.ipFamilies", f"{unknown[0]!r} is not a family", "use IPv4 and IPv6")
    if spec.ip_families:
        return tuple(dict.fromkeys(_FAMILIES[each] for each in spec.ip_families)), None
    if spec.ip_family_policy in ("PreferDualStack", "RequireDualStack"):
        return (4, 6), None
    given = map(parse_address, spec.cluster_ips or (spec.cluster_ip,))
    return tuple(dict.fromkeys(each.version for each in given if each is not None)), None


def _mismatch(field: str, requested: tuple[Address, ...], families: tuple[int, ...]) -> Refusal | None:
    for address in requested:
        if families and address.version not in families:
            listed = " and ".join(f"IPv{each}" for each in families)
            return Refusal(field, f"{address} is asked for but the Service is {listed}", "see spec.ipFamilies")
    return None


def _sharing(service: Service) -> Sharing:
    spec = service.spec
    backends = ""
    if spec.external_traffic_policy == "Local":
        # Only pods chosen by one selector are on the same nodes; without a selector nothing is known of them.
        chosen = sorted((spec.selector or {}).items())
        backends = f"Local {service.metadata.namespace} {chosen}" if chosen else f"Local only {service.key}"
    ports = frozenset((port.protocol, port.port) for port in spec.ports)
    return Sharing(_annotation(service, SHARING)[1], ports, backends)
