"""Who may answer for a Service port: Service + EndpointSlices (+ this node) -> endpoints. Pure.

The rules are Kubernetes' own (EndpointSlice API; KEP-1669 terminating endpoints, KEP-2433 zone hints, KEP-4444 traffic
distribution): ready endpoints, and if there is none, those that terminate but still serve; decided separately for
"anywhere in the cluster" and "on this node". Hints narrow the first of them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lb.cluster.objects import EndpointSlice, ObjectReference, Service, ServicePort, SliceEndpoint, SlicePort

ZONE_LABEL = "topology.kubernetes.io/zone"


class Here(NamedTuple):
    """Who asks; "" if it has no node or no zone, and then nothing is local and no hint is followed."""

    node: str = ""
    zone: str = ""


NOWHERE = Here()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port that a slice offers for a Service port."""

    address: str
    port: int
    node: str = ""
    """"" if the slice does not say."""
    local: bool = False
    """On the node that asks."""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()
    target: ObjectReference | None = None
    """Usually its Pod."""

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class PortEndpoints:
    """The endpoints of one Service port and address family, in the order of the slices."""

    cluster: tuple[Endpoint, ...] = ()
    """Usable wherever they run."""
    local: tuple[Endpoint, ...] = ()
    """Usable and on this node; not always a part of `cluster`."""
    all: tuple[Endpoint, ...] = ()
    """Everything the slices name, usable or not."""

    @property
    def serving(self) -> tuple[Endpoint, ...]:
        """Those that may still carry a flow that has begun."""
        return tuple(each for each in self.all if each.serving or each.ready)


def port_endpoints(
    service: Service, port: ServicePort, slices: Iterable[EndpointSlice], *, here: Here = NOWHERE, family: str = ""
) -> PortEndpoints:
    """The endpoints of one port of a Service.

    slices: those of this Service. family: "IPv4", "IPv6", or "" for both together.
    A slice's port belongs to the Service's port of the same name and protocol; its number is the target port, named
    target ports having been resolved by whoever wrote the slice.
    """
    found = _merged(service, port, slices, family=family, here=here)
    if not found:
        return PortEndpoints()
    near = _hint(found, here)
    cluster = tuple(each for each in found if each.ready and near(each)) or _last_resort(found)
    mine = tuple(each for each in found if each.local)
    local = tuple(each for each in mine if each.ready) or _last_resort(mine)
    return PortEndpoints(cluster, local, found)


def port_named(service: Service, wanted: str | int) -> ServicePort | None:
    """The port of a Service by its name or number, as an Ingress backend names it."""
    for port in service.spec.ports:
        if wanted == port.port or (isinstance(wanted, str) and wanted and wanted == port.name):
            return port
    return None


def _last_resort(found: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    return tuple(each for each in found if each.serving and each.terminating)


def _merged(
    service: Service, port: ServicePort, slices: Iterable[EndpointSlice], *, family: str, here: Here
) -> tuple[Endpoint, ...]:
    """Of an address that stands in several slices, as happens while it moves, the most able one counts."""
    merged: dict[tuple[str, int], Endpoint] = {}
    for each in slices:
        if each.address_type == "FQDN" or (family and each.address_type != family):
            continue
        for number in _port_numbers(port, each.ports or ()):
            for endpoint in each.endpoints or ():
                if not endpoint.addresses:
                    continue
                candidate = _endpoint(service, endpoint, number, here)
                place = (candidate.address, number)
                before = merged.get(place)
                if before is None or _ability(candidate) > _ability(before):
                    merged[place] = candidate
    return tuple(merged.values())


def _port_numbers(port: ServicePort, offered: Iterable[SlicePort]) -> list[int]:
    return [
        each.port
        for each in offered
        if each.port is not None and (each.name or "") == port.name and (each.protocol or "TCP") == port.protocol
    ]


def _endpoint(service: Service, found: SliceEndpoint, port: int, here: Here) -> Endpoint:
    conditions = found.conditions
    ready = conditions.ready is not False or service.spec.publish_not_ready_addresses
    serving = ready if conditions.serving is None else conditions.serving or service.spec.publish_not_ready_addresses
    hints = found.hints
    return Endpoint(
        # The API says of further addresses that clients should ignore them.
        address=found.addresses[0],
        port=port,
        node=found.node_name or "",
        local=here.node != "" and found.node_name == here.node,
        ready=ready,
        serving=serving,
        terminating=bool(conditions.terminating),
        for_zones=tuple(each.name for each in hints.for_zones) if hints else (),
        for_nodes=tuple(each.name for each in hints.for_nodes) if hints else (),
        target=found.target_ref,
    )


def _ability(found: Endpoint) -> int:
    return found.ready * 2 + found.serving


def _hint(found: tuple[Endpoint, ...], here: Here) -> Callable[[Endpoint], bool]:
    """Which endpoints the hints point this node to: all, unless every ready one has a hint and one points here."""
    ready = [each for each in found if each.ready]
    if here.node and all(each.for_nodes for each in ready) and any(here.node in each.for_nodes for each in ready):
        return lambda each: here.node in each.for_nodes
    if here.zone and all(each.for_zones for each in ready) and any(here.zone in each.for_zones for each in ready):
        return lambda each: here.zone in each.for_zones
    return lambda each: True
