"""What the API server would refuse, for manifests that never meet one. Pure.

Only what would break something here later, or what a newcomer gets wrong: ports, protocols, addresses, names.
Rules and limits: Kubernetes API reference v1.36 and "Object Names and IDs". One of them is lifted: an endpoint on
loopback is as good as any, so that a folder of manifests can drive servers on the same machine.
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from lb.cluster.kinds import Fault
from lb.cluster.objects import (
    EndpointSlice,
    Ingress,
    IngressBackend,
    IntOrString,
    LoadBalancerStatus,
    Namespace,
    Node,
    Object,
    Pod,
    Secret,
    Service,
    ServicePort,
)

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123 label: names of Services, Namespaces, ports of EndpointSlices."""

LABEL_ADVICE = "use at most 63 of a-z, 0-9 and -, no - at the ends"

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123 subdomain, at most 253 characters: names of everything else."""

SUBDOMAIN_ADVICE = "use at most 253 of a-z, 0-9, - and ., a letter or digit at the ends"

PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
"""IANA service name (RFC 6335, 5.1) in lower case: a `targetPort` by name."""

PROTOCOLS = ("TCP", "UDP", "SCTP")
SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer", "ExternalName")
POLICIES = ("Cluster", "Local")
FAMILIES = ("IPv4", "IPv6")
FAMILY_POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
PATH_TYPES = ("Exact", "Prefix", "ImplementationSpecific")
ENDPOINTS_MAX = 1000
AFFINITY_SECONDS_MAX = 86400

_Faults = Iterator[Fault]


def validate(found: Object) -> tuple[Fault, ...]:
    """Return what is wrong with an object that has the right fields of the right types; () if it is good."""
    checks = _CHECKS.get(found.KIND)
    specific = checks(found) if checks else ()
    return (*_metadata(found), *specific)


def validate_status(found: Object) -> tuple[Fault, ...]:
    """The same for an object of which only metadata and status are given."""
    specific = _load_balancer(found.status.load_balancer) if isinstance(found, Service | Ingress) else ()
    return (*_metadata(found), *specific)


# --- names -------------------------------------------------------------------------------------------------------


def _metadata(found: Object) -> _Faults:
    name = found.metadata.name
    if isinstance(found, Service | Namespace):
        if not LABEL.fullmatch(name):
            yield Fault("metadata.name", f"{name!r} is not a DNS label", LABEL_ADVICE)
    elif len(name) > 253 or not SUBDOMAIN.fullmatch(name):
        yield Fault("metadata.name", f"{name!r} is not a DNS name", SUBDOMAIN_ADVICE)
    if found.NAMESPACED and not LABEL.fullmatch(found.metadata.namespace):
        reason = f"{found.metadata.namespace!r} is not a DNS label"
        yield Fault("metadata.namespace", reason, LABEL_ADVICE)


def _one_of(field: str, value: str, allowed: tuple[str, ...]) -> _Faults:
    if value not in allowed:
        meant = next((each for each in allowed if each.lower() == value.lower()), None)
        advice = f"write {meant}" if meant else f"use one of: {', '.join(allowed)}"
        yield Fault(field, f"{value!r} is not known", advice)


def _port(field: str, value: int) -> _Faults:
    if not 1 <= value <= 65535:
        yield Fault(field, f"{value} is not a port", "use a number from 1 to 65535")


def _port_or_name(field: str, value: IntOrString | None) -> _Faults:
    if isinstance(value, int):
        yield from _port(field, value)
    elif value is not None and not PORT_NAME.fullmatch(value):
        advice = "use a number without quotes" if value.isdigit() else "use at most 15 of a-z, 0-9 and -, with a letter"
        yield Fault(field, f"{value!r} is not the name of a port", advice)


def _unique(values: Iterable[tuple[str, object]], what: str) -> _Faults:
    """Each value is (field, what must be there once)."""
    seen: dict[object, str] = {}
    for field, value in values:
        if value in seen:
            yield Fault(field, f"{what} is the same as that of {seen[value]}", "give each its own")
        seen.setdefault(value, field.rpartition(".")[0] or field)


# --- addresses ---------------------------------------------------------------------------------------------------


def _address(field: str, text: str, family: str = "") -> _Faults:
    try:
        version = ipaddress.ip_address(text).version
    except ValueError:
        yield Fault(field, f"{text!r} is not an IP address", "write for instance 10.0.0.1 or fd00::1")
        return
    if "%" in text:
        yield Fault(field, f"{text!r} has a zone", "leave out what begins with %")
    if family and family != f"IPv{version}":
        yield Fault(field, f"{text} is not an address of {family}", f"use an address of {family}")


def _network(field: str, text: str) -> _Faults:
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        yield Fault(field, f"{text!r} is not a network", "write for instance 10.1.0.0/16 or fd00:1::/64")
        return
    if "/" not in text:
        yield Fault(field, f"{text!r} has no prefix length", f"write {text}/{128 if ':' in text else 32}")


def _load_balancer(status: LoadBalancerStatus) -> _Faults:
    for index, each in enumerate(status.ingress):
        field = f"status.loadBalancer.ingress[{index}]"
        if each.ip:
            yield from _address(f"{field}.ip", each.ip)
        elif not each.hostname:
            yield Fault(field, "has neither ip nor hostname", "give it one of the two")


# --- Service -----------------------------------------------------------------------------------------------------


def _service(service: Service) -> _Faults:
    spec = service.spec
    yield from _one_of("spec.type", spec.type, SERVICE_TYPES)
    yield from _one_of("spec.sessionAffinity", spec.session_affinity, ("None", "ClientIP"))
    yield from _one_of("spec.externalTrafficPolicy", spec.external_traffic_policy, POLICIES)
    yield from _one_of("spec.internalTrafficPolicy", spec.internal_traffic_policy, POLICIES)
    if spec.session_affinity_config is not None:
        seconds = spec.session_affinity_config.client_ip.timeout_seconds
        if not 1 <= seconds <= AFFINITY_SECONDS_MAX:
            field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            yield Fault(field, f"{seconds} is out of range", f"use 1 to {AFFINITY_SECONDS_MAX}")
    if spec.health_check_node_port:
        yield from _port("spec.healthCheckNodePort", spec.health_check_node_port)
    if spec.type == "ExternalName":
        if len(spec.external_name) > 253 or not SUBDOMAIN.fullmatch(spec.external_name.rstrip(".").lower()):
            yield Fault("spec.externalName", f"{spec.external_name!r} is not a DNS name", "write it as db.example.org")
        return
    if not spec.ports and spec.cluster_ip != "None":
        yield Fault("spec.ports", "has no port", "give it at least one, or make it headless: clusterIP: None")
    yield from _service_addresses(service)
    yield from _service_ports(service)
    yield from _load_balancer(service.status.load_balancer)


def _service_addresses(service: Service) -> _Faults:
    spec = service.spec
    if spec.cluster_ip not in ("", "None"):
        yield from _address("spec.clusterIP", spec.cluster_ip)
    elif spec.cluster_ip == "None" and spec.type in ("NodePort", "LoadBalancer"):
        yield Fault("spec.clusterIP", f"a Service of type {spec.type} cannot be headless", "remove clusterIP: None")
    if spec.cluster_ips and spec.cluster_ips[0] != spec.cluster_ip and spec.cluster_ip:
        yield Fault("spec.clusterIPs[0]", "differs from clusterIP", f"write {spec.cluster_ip} first")
    for index, text in enumerate(spec.cluster_ips):
        if text not in ("", "None"):
            yield from _address(f"spec.clusterIPs[{index}]", text)
    for index, text in enumerate(spec.external_ips):
        field = f"spec.externalIPs[{index}]"
        faults = list(_address(field, text))
        yield from faults
        if not faults:
            address = ipaddress.ip_address(text)
            if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
                yield Fault(field, f"{text} cannot be reached from outside", "use an address routed to the nodes")
    if spec.load_balancer_ip:
        yield from _address("spec.loadBalancerIP", spec.load_balancer_ip)
    for index, text in enumerate(spec.load_balancer_source_ranges):
        yield from _network(f"spec.loadBalancerSourceRanges[{index}]", text)
    for index, text in enumerate(spec.ip_families):
        yield from _one_of(f"spec.ipFamilies[{index}]", text, FAMILIES)
    if spec.ip_family_policy is not None:
        yield from _one_of("spec.ipFamilyPolicy", spec.ip_family_policy, FAMILY_POLICIES)


def _service_ports(service: Service) -> _Faults:
    ports = service.spec.ports
    for index, port in enumerate(ports):
        yield from _service_port(f"spec.ports[{index}]", port, service)
        if len(ports) > 1 and not port.name:
            yield Fault(f"spec.ports[{index}].name", "is missing", "with several ports each needs a name")
    named = [(f"spec.ports[{index}].name", port.name) for index, port in enumerate(ports) if port.name]
    yield from _unique(named, "its name")
    numbered = [(f"spec.ports[{index}].port", (port.protocol, port.port)) for index, port in enumerate(ports)]
    yield from _unique(numbered, "its protocol and number")
    on_nodes = [
        (f"spec.ports[{index}].nodePort", (port.protocol, port.node_port))
        for index, port in enumerate(ports)
        if port.node_port
    ]
    yield from _unique(on_nodes, "its protocol and node port")


def _service_port(field: str, port: ServicePort, service: Service) -> _Faults:
    yield from _port(f"{field}.port", port.port)
    yield from _one_of(f"{field}.protocol", port.protocol, PROTOCOLS)
    yield from _port_or_name(f"{field}.targetPort", port.target_port)
    if port.name and not LABEL.fullmatch(port.name):
        yield Fault(f"{field}.name", f"{port.name!r} is not a DNS label", LABEL_ADVICE)
    if port.node_port:
        yield from _port(f"{field}.nodePort", port.node_port)
        if service.spec.type == "ClusterIP":
            yield Fault(
                f"{field}.nodePort", "needs type NodePort or LoadBalancer", "write type: NodePort, or remove it"
            )


# --- EndpointSlice, Node, Pod, Secret ----------------------------------------------------------------------------


def _slice(found: EndpointSlice) -> _Faults:
    yield from _one_of("addressType", found.address_type, (*FAMILIES, "FQDN"))
    endpoints, ports = found.endpoints or (), found.ports or ()
    if len(endpoints) > ENDPOINTS_MAX:
        yield Fault("endpoints", f"has {len(endpoints)} endpoints", f"give a slice at most {ENDPOINTS_MAX}")
    for index, endpoint in enumerate(endpoints):
        if not endpoint.addresses:
            yield Fault(f"endpoints[{index}].addresses", "is empty", "give it one address")
        for number, text in enumerate(endpoint.addresses):
            field = f"endpoints[{index}].addresses[{number}]"
            if found.address_type != "FQDN":
                yield from _address(field, text, found.address_type if found.address_type in FAMILIES else "")
            elif not SUBDOMAIN.fullmatch(text.rstrip(".")):
                yield Fault(field, f"{text!r} is not a DNS name", "write for instance db.example.org")
    for index, port in enumerate(ports):
        field = f"ports[{index}]"
        if port.port is not None:
            yield from _port(f"{field}.port", port.port)
        if port.protocol is not None:
            yield from _one_of(f"{field}.protocol", port.protocol, PROTOCOLS)
        if port.name and not LABEL.fullmatch(port.name):
            yield Fault(f"{field}.name", f"{port.name!r} is not a DNS label", LABEL_ADVICE)
    yield from _unique([(f"ports[{index}].name", port.name or "") for index, port in enumerate(ports)], "its name")


def _node(node: Node) -> _Faults:
    if node.spec.pod_cidr:
        yield from _network("spec.podCIDR", node.spec.pod_cidr)
    for index, text in enumerate(node.spec.pod_cidrs):
        yield from _network(f"spec.podCIDRs[{index}]", text)
    for index, each in enumerate(node.status.addresses):
        if each.type in ("InternalIP", "ExternalIP"):
            yield from _address(f"status.addresses[{index}].address", each.address)


def _pod(pod: Pod) -> _Faults:
    for index, each in enumerate(pod.status.pod_ips):
        if each.ip:
            yield from _address(f"status.podIPs[{index}].ip", each.ip)
    for field, text in (("status.podIP", pod.status.pod_ip), ("status.hostIP", pod.status.host_ip)):
        if text:
            yield from _address(field, text)
    names = []
    for index, container in enumerate(pod.spec.containers):
        field = f"spec.containers[{index}]"
        names.append((f"{field}.name", container.name))
        if not LABEL.fullmatch(container.name):
            yield Fault(f"{field}.name", f"{container.name!r} is not a DNS label", LABEL_ADVICE)
        for number, port in enumerate(container.ports):
            place = f"{field}.ports[{number}]"
            yield from _port(f"{place}.containerPort", port.container_port)
            yield from _one_of(f"{place}.protocol", port.protocol, PROTOCOLS)
            if port.name:
                yield from _port_or_name(f"{place}.name", port.name)
            if port.host_port:
                yield from _port(f"{place}.hostPort", port.host_port)
            if port.host_ip:
                yield from _address(f"{place}.hostIP", port.host_ip)
    yield from _unique(names, "its name")


def _secret(secret: Secret) -> _Faults:
    for name, text in (secret.data or {}).items():
        try:
            base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            yield Fault(f"data.{name}", "is not base64", "encode it (base64 -w0 FILE), or write it under stringData")
    if secret.type == "kubernetes.io/tls":
        there = {*(secret.data or {}), *(secret.string_data or {})}
        for name in ("tls.crt", "tls.key"):
            if name not in there:
                yield Fault(f"data.{name}", "is missing", "a Secret of type kubernetes.io/tls has tls.crt and tls.key")


# --- Ingress -----------------------------------------------------------------------------------------------------


def _ingress(ingress: Ingress) -> _Faults:
    spec = ingress.spec
    if spec.default_backend is None and not spec.rules:
        yield Fault("spec", "has neither rules nor defaultBackend", "give it one of the two")
    if spec.default_backend is not None:
        yield from _backend("spec.defaultBackend", spec.default_backend)
    for number, rule in enumerate(spec.rules):
        if rule.http is not None and not rule.http.paths:
            yield Fault(f"spec.rules[{number}].http.paths", "is empty", "give it a path, or leave out http")
        for index, path in enumerate(rule.http.paths if rule.http else ()):
            field = f"spec.rules[{number}].http.paths[{index}]"
            # The API server asks for a pathType, ingress-nginx never did: without one it is a Prefix, as there.
            if path.path_type is not None:
                yield from _one_of(f"{field}.pathType", path.path_type, PATH_TYPES)
            if not path.path.startswith("/") and (path.path or path.path_type in ("Exact", "Prefix")):
                yield Fault(f"{field}.path", f"{path.path!r} does not begin with /", f"write /{path.path}")
            yield from _backend(f"{field}.backend", path.backend)
    yield from _load_balancer(ingress.status.load_balancer)


def _backend(field: str, backend: IngressBackend) -> _Faults:
    if (backend.service is None) == (backend.resource is None):
        yield Fault(field, "names neither or both of service and resource", "give it one of the two")
    if backend.service is None:
        return
    port = backend.service.port
    if bool(port.name) == bool(port.number):
        yield Fault(f"{field}.service.port", "wants either name or number", "give it one of the two")
    elif port.number:
        yield from _port(f"{field}.service.port.number", port.number)
    else:
        yield from _port_or_name(f"{field}.service.port.name", port.name)


_Check = Callable[[Any], Iterator[Fault]]
_CHECKS = cast(
    "dict[str, _Check]",
    {
        cls.KIND: check
        for cls, check in (
            (Service, _service),
            (EndpointSlice, _slice),
            (Node, _node),
            (Pod, _pod),
            (Secret, _secret),
            (Ingress, _ingress),
        )
    },
)
