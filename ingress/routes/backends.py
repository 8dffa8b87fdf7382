"""A Service port, as a rule names it -> its endpoints now, or the reason why there can be none."""

from collections.abc import Iterable, Iterator

from ingress.routes.model import Backend, Endpoint
from lb.cluster.objects import EndpointConditions, EndpointSlice, Service, ServicePort, SliceEndpoint
from lb.cluster.store import ObjectStore


def compile_backend(store: ObjectStore, namespace: str, service: str, port: str) -> Backend:
    """Look at the Service and its EndpointSlices as they are now."""
    found = store.get(Service, namespace, service)
    if found is None:
        return _wrong(namespace, service, port, "does not exist", "create it, or correct the name in the rule")
    if found.spec.type == "ExternalName":
        return _wrong(
            namespace, service, port, "is of type ExternalName, which is not served yet", "name its endpoints"
        )
    named = find_port(found, port)
    if named is None:
        there = ", ".join(f"{each.port} ({each.name})" if each.name else f"{each.port}" for each in found.spec.ports)
        return _wrong(namespace, service, port, f"has no port {port}", f"its ports: {there or 'none'}")
    if named.protocol != "TCP":
        return _wrong(namespace, service, port, f"port {port} speaks {named.protocol}", "HTTP needs a TCP port")
    total, endpoints = ready_endpoints(named, store.slices_of(namespace, service))
    return Backend(namespace, service, port, endpoints, total)


def find_port(service: Service, port: str) -> ServicePort | None:
    """The port a rule means: by number if it is one (names have a letter), else by name."""
    if port.isdigit():
        return next((each for each in service.spec.ports if each.port == int(port)), None)
    return next((each for each in service.spec.ports if each.name == port), None)


def ready_endpoints(port: ServicePort, slices: Iterable[EndpointSlice]) -> tuple[int, tuple[Endpoint, ...]]:
    """How many endpoints there are, and those that may answer.

    Those that are ready; if none is, those that still serve while they terminate (KEP-1669): a connection to a pod that
    shuts down in good order is better than none. Ports are matched by the name of the Service's port: a slice carries
    the numbers that named target ports have come to.
    """
    ready: dict[Endpoint, None] = {}
    leaving: dict[Endpoint, None] = {}
    every: dict[Endpoint, None] = {}
    for each, number in _addressed(port, slices):
        conditions = each.conditions
        for address in each.addresses[:1]:  # the API: consumers use the first, the others are not defined
            endpoint = (address, number)
            every[endpoint] = None
            if conditions.ready is not False:
                ready[endpoint] = None
            elif conditions.terminating and _serving(conditions):
                leaving[endpoint] = None
    return len(every), tuple(ready or leaving)


def _addressed(port: ServicePort, slices: Iterable[EndpointSlice]) -> Iterator[tuple[SliceEndpoint, int]]:
    """Every endpoint of the slices that carries this port, with its number there."""
    for found in slices:
        if found.address_type not in ("IPv4", "IPv6"):
            continue
        for carried in found.ports or ():
            if (carried.name or "") == port.name and (carried.protocol or "TCP") == port.protocol and carried.port:
                for each in found.endpoints or ():
                    yield each, carried.port


def _serving(conditions: EndpointConditions) -> bool:
    return conditions.ready is not False if conditions.serving is None else conditions.serving


def _wrong(namespace: str, service: str, port: str, reason: str, advice: str) -> Backend:
    return Backend(namespace, service, port, wrong=f"Service {namespace}/{service} {reason}", advice=advice)
