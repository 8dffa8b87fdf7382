"""A Service port, as a rule names it -> its endpoints now, or the reason why there can be none."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from ingress.routes.model import Backend, NameAnswer, Route, Variant
from ingress.routes.pods import slices_of_pods
from lb.cluster.objects import EndpointSlice, Pod, Service
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore
from lb.endpoints import NOWHERE, Here, port_endpoints, port_named

_NAME = re.compile(r"[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*")
_LOCAL = re.compile(r"(.*\.)?(localhost|localhost\.localdomain|localhost[46]|ip6-localhost|ip6-loopback)")


@dataclass(frozen=True, slots=True)
class Around:
    """What a Service's endpoints depend on beside the Service and its slices."""

    names: Mapping[str, NameAnswer] = field(default_factory=dict)
    """What the names of ExternalName Services were found to mean."""
    pods: bool = False
    """Pods stand in for slices that nobody writes."""
    external_names: bool = True
    """Services may stand for DNS names."""
    here: Here = NOWHERE
    """Our own place, if hints of endpoints are followed."""


PLAIN = Variant("")
NOTHING_AROUND = Around()


def compile_backend(
    store: ObjectStore,
    namespace: str,
    service: str,
    port: str,
    *,
    around: Around = NOTHING_AROUND,
    variant: Variant | None = None,
) -> Backend:
    """Look at the Service and its EndpointSlices as they are now."""
    made = _compile(store, namespace, service, port, around, variant=variant or PLAIN)
    return made if variant is None else replace(made, variant=variant)


def _compile(
    store: ObjectStore, namespace: str, service: str, port: str, around: Around, *, variant: Variant
) -> Backend:
    found = store.get(Service, namespace, service)
    if found is None:
        advice = "create it, or correct the name in the rule"
        return _wrong(namespace, service, port, "does not exist", advice=advice)
    if found.spec.type == "ExternalName" and not around.external_names:
        advice = "leave out --disable-svc-external-name, or use a Service with endpoints"
        return _wrong(namespace, service, port, "stands for a DNS name, which is not served", advice=advice)
    if found.spec.type == "ExternalName":
        return _external(found, port, around.names)
    # A port's name has a letter in it, so digits are always a number.
    wanted = "UDP" if variant.udp else "TCP"
    ports = tuple(each for each in found.spec.ports if each.protocol == wanted)
    named = port_named(found, int(port) if port.isdigit() else port)
    if named is not None and named.protocol != wanted:  # the same number may be there for both
        named = next((each for each in ports if port in (str(each.port), each.name)), named)
    if named is None:
        there = ", ".join(f"{each.port} ({each.name})" if each.name else f"{each.port}" for each in found.spec.ports)
        return _wrong(namespace, service, port, f"has no port {port}", advice=f"its ports: {there or 'none'}")
    if named.protocol != wanted:
        return _wrong(namespace, service, port, f"port {port} speaks {named.protocol}", advice=f"name a {wanted} port")
    if variant.cluster_ip and found.spec.cluster_ip not in ("", "None"):
        return Backend(namespace, service, port, ((found.spec.cluster_ip, named.port),), 1)
    slices = slices_for(store, found, around)
    if slices and all(each.address_type == "FQDN" for each in slices):
        why = f"has endpoints by name ({slices[0].metadata.name} has addressType FQDN), which are not looked up"
        return _wrong(namespace, service, port, why, advice="use a Service of type ExternalName")
    endpoints = port_endpoints(found, named, slices, here=around.here)
    usable = tuple((each.address, each.port) for each in endpoints.cluster)
    hinted = 0 < len(usable) < sum(each.ready for each in endpoints.all)
    return Backend(namespace, service, port, usable, len(endpoints.all), hinted=hinted)


def slices_for(store: ObjectStore, service: Service, around: Around) -> list[EndpointSlice]:
    """The slices of a Service; if it has none, those that its Pods would have."""
    found = store.slices_of(service.metadata.namespace, service.metadata.name)
    return found or (slices_of_pods(service, store.all(Pod)) if around.pods else [])


def _external(found: Service, port: str, names: Mapping[str, NameAnswer]) -> Backend:
    """A name outside. Its ports need not be listed in the Service, as in ingress-nginx."""
    namespace, service = found.metadata.namespace, found.metadata.name
    name = found.spec.external_name.lower().rstrip(".")
    reason = refused_name(name)
    if reason:
        return _wrong(namespace, service, port, f"has externalName {name or '(none)'}: {reason[0]}", advice=reason[1])
    named = port_named(found, int(port) if port.isdigit() else port)
    if named is None and not port.isdigit():
        advice = "name it in spec.ports, or give its number in the rule"
        return _wrong(namespace, service, port, f"has no port {port}", advice=advice)
    number = int(port) if named is None else named.target_port if isinstance(named.target_port, int) else named.port
    answer = names.get(name)
    if answer is None:
        return Backend(namespace, service, port, external=name)
    if not answer.addresses:
        why = f"Service {namespace}/{service} has externalName {name}: {answer.error}"
        return Backend(namespace, service, port, wrong=why, advice="correct the name, or its DNS record", external=name)
    endpoints = tuple((ip, number) for ip in answer.addresses)
    return Backend(namespace, service, port, endpoints, len(endpoints), external=name)


def refused_name(name: str) -> tuple[str, str] | None:
    """Why a name is not asked for, and what to do; None if it may be."""
    if _LOCAL.fullmatch(name):
        return "this machine is not reached by name", "name another host, or give addresses in an EndpointSlice"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if _NAME.fullmatch(name) and len(name) <= 253:
            return None
        return "it is not a DNS name", "write a name such as db.example.com"
    return "it is an address, not a name", "use a Service with an EndpointSlice that has it"


def backend_problems(backend: Backend, routes: Iterable[Route]) -> list[Problem]:
    """One for every place that names a backend which cannot be."""
    if not backend.wrong:
        return []
    found: dict[Problem, None] = {}
    for route in routes:
        field = route.field if route.default else f"{route.field}.backend"
        if backend.key != route.backend:
            field = "metadata.annotations"
        reason = f"{backend.wrong}; requests get 503"
        if route.ingress:
            found[Problem(f"Ingress {route.ingress}", f"{field}.service", reason, backend.advice)] = None
        else:
            found[Problem(*_operators(route.field), reason, backend.advice)] = None
    return list(found)


def _operators(field: str) -> tuple[str, str]:
    """Of a flag or an entry of the operator's: object and field."""
    title, _, rest = field.partition(": ")
    return title, rest


def _wrong(namespace: str, service: str, port: str, reason: str, *, advice: str) -> Backend:
    return Backend(namespace, service, port, wrong=f"Service {namespace}/{service} {reason}", advice=advice)
