"""A Service port, as a rule names it -> its endpoints now, or the reason why there can be none."""

from ingress.routes.model import Backend
from lb.cluster.objects import Service
from lb.cluster.store import ObjectStore
from lb.endpoints import port_endpoints, port_named


def compile_backend(store: ObjectStore, namespace: str, service: str, port: str) -> Backend:
    """Look at the Service and its EndpointSlices as they are now."""
    found = store.get(Service, namespace, service)
    if found is None:
        advice = "create it, or correct the name in the rule"
        return _wrong(namespace, service, port, "does not exist", advice=advice)
    if found.spec.type == "ExternalName":
        advice = "use a Service with EndpointSlices that name the addresses"
        return _wrong(namespace, service, port, "is of type ExternalName, which is not served yet", advice=advice)
    # A port's name has a letter in it, so digits are always a number.
    named = port_named(found, int(port) if port.isdigit() else port)
    if named is None:
        there = ", ".join(f"{each.port} ({each.name})" if each.name else f"{each.port}" for each in found.spec.ports)
        return _wrong(namespace, service, port, f"has no port {port}", advice=f"its ports: {there or 'none'}")
    if named.protocol != "TCP":
        return _wrong(namespace, service, port, f"port {port} speaks {named.protocol}", advice="HTTP needs a TCP port")
    endpoints = port_endpoints(found, named, store.slices_of(namespace, service))
    usable = tuple((each.address, each.port) for each in endpoints.cluster)
    return Backend(namespace, service, port, usable, len(endpoints.all))


def _wrong(namespace: str, service: str, port: str, reason: str, *, advice: str) -> Backend:
    return Backend(namespace, service, port, wrong=f"Service {namespace}/{service} {reason}", advice=advice)
