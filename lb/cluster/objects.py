"""The Kubernetes objects we read, as frozen structs with the API's own field names.

Only fields that something here uses are declared; everything else in a document is ignored, as the API server's
clients do. Source: Kubernetes API v1.36 (core/v1, discovery.k8s.io/v1, networking.k8s.io/v1).

`decode` turns one mapping (from JSON or YAML) into one of these structs or says what is wrong with it.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import msgspec

IntOrString = int | str
"""A port number or the name of a port."""


class Key(NamedTuple):
    """Names one object of the cluster; `namespace` is "" for Node, Namespace and IngressClass."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Struct(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True, gc=False):
    """Base of every API type. Frozen trees hold no cycles: the garbage collector need not walk a cluster's objects."""


class OwnerReference(Struct, frozen=True):
    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(Struct, frozen=True):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    """RFC 3339, UTC. None in a manifest: such objects are ordered after all that have one, then by name."""
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] = ()


class Object(Struct, frozen=True):
    """What all kinds share. `KIND` and `API_VERSION` are what a manifest's `kind` and `apiVersion` must say."""

    KIND: ClassVar[str]
    API_VERSION: ClassVar[str]
    NAMESPACED: ClassVar[bool] = True

    metadata: Metadata

    @property
    def key(self) -> Key:
        return Key(self.KIND, self.metadata.namespace, self.metadata.name)

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations or {}


class Condition(Struct, frozen=True):
    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


# --- Service -----------------------------------------------------------------------------------------------------


class ServicePort(Struct, frozen=True):
    port: int
    name: str = ""
    protocol: str = "TCP"
    target_port: IntOrString | None = None
    """None means the same number as `port`."""
    node_port: int = 0
    app_protocol: str | None = None


class ClientIPConfig(Struct, frozen=True):
    timeout_seconds: int = 10800


class SessionAffinityConfig(Struct, frozen=True):
    # The API's name is clientIP; msgspec's camel would make it clientIp.
    client_ip: ClientIPConfig = msgspec.field(default=ClientIPConfig(), name="clientIP")


class PortStatus(Struct, frozen=True):
    port: int
    protocol: str = "TCP"
    error: str | None = None


class LoadBalancerIngress(Struct, frozen=True):
    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    """"VIP" (the default) or "Proxy": with Proxy the nodes must not capture the address."""
    ports: tuple[PortStatus, ...] = ()


class LoadBalancerStatus(Struct, frozen=True):
    ingress: tuple[LoadBalancerIngress, ...] = ()


class ServiceSpec(Struct, frozen=True):
    type: str = "ClusterIP"
    selector: dict[str, str] | None = None
    ports: tuple[ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    """"None" for a headless Service."""
    cluster_ips: tuple[str, ...] = msgspec.field(default=(), name="clusterIPs")
    external_ips: tuple[str, ...] = msgspec.field(default=(), name="externalIPs")
    external_name: str = ""
    session_affinity: str = "None"
    session_affinity_config: SessionAffinityConfig | None = None
    external_traffic_policy: str = "Cluster"
    internal_traffic_policy: str = "Cluster"
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    load_balancer_ip: str = msgspec.field(default="", name="loadBalancerIP")
    load_balancer_source_ranges: tuple[str, ...] = ()
    load_balancer_class: str | None = None
    allocate_load_balancer_node_ports: bool = True
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str | None = None
    traffic_distribution: str | None = None


class ServiceStatus(Struct, frozen=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()
    conditions: tuple[Condition, ...] = ()


class Service(Object, frozen=True):
    KIND: ClassVar[str] = "Service"
    API_VERSION: ClassVar[str] = "v1"

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


# --- EndpointSlice -----------------------------------------------------------------------------------------------


class EndpointConditions(Struct, frozen=True):
    ready: bool | None = None
    """None means ready."""
    serving: bool | None = None
    """None means the same as `ready`."""
    terminating: bool | None = None


class ForNode(Struct, frozen=True):
    name: str


class EndpointHints(Struct, frozen=True):
    for_zones: tuple[ForNode, ...] = ()
    for_nodes: tuple[ForNode, ...] = ()


class ObjectReference(Struct, frozen=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(Struct, frozen=True):
    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    target_ref: ObjectReference | None = None


class SlicePort(Struct, frozen=True):
    name: str | None = ""
    port: int | None = None
    protocol: str | None = "TCP"
    app_protocol: str | None = None


SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class EndpointSlice(Object, frozen=True):
    KIND: ClassVar[str] = "EndpointSlice"
    API_VERSION: ClassVar[str] = "discovery.k8s.io/v1"

    address_type: str = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] | None = ()
    ports: tuple[SlicePort, ...] | None = ()

    @property
    def service_name(self) -> str:
        """The Service this slice belongs to, "" if it carries no label."""
        return self.labels.get(SERVICE_NAME_LABEL, "")


# --- Node, Pod, Namespace ----------------------------------------------------------------------------------------


class NodeAddress(Struct, frozen=True):
    type: str
    address: str


class Taint(Struct, frozen=True):
    key: str
    effect: str = ""
    value: str = ""


class NodeSpec(Struct, frozen=True):
    pod_cidr: str = msgspec.field(default="", name="podCIDR")
    pod_cidrs: tuple[str, ...] = msgspec.field(default=(), name="podCIDRs")
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeStatus(Struct, frozen=True):
    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Node(Object, frozen=True):
    KIND: ClassVar[str] = "Node"
    API_VERSION: ClassVar[str] = "v1"
    NAMESPACED: ClassVar[bool] = False

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def internal_ips(self) -> tuple[str, ...]:
        return tuple(a.address for a in self.status.addresses if a.type == "InternalIP")

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        return self.spec.pod_cidrs or ((self.spec.pod_cidr,) if self.spec.pod_cidr else ())


class ContainerPort(Struct, frozen=True):
    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: int = 0
    host_ip: str = msgspec.field(default="", name="hostIP")


class EnvVar(Struct, frozen=True):
    name: str
    value: str = ""


class Container(Struct, frozen=True):
    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    env: tuple[EnvVar, ...] = ()


class PodSpec(Struct, frozen=True):
    node_name: str = ""
    host_network: bool = False
    containers: tuple[Container, ...] = ()


class PodIP(Struct, frozen=True):
    ip: str = ""


class PodStatus(Struct, frozen=True):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    host_ip: str = msgspec.field(default="", name="hostIP")
    conditions: tuple[Condition, ...] = ()


class Pod(Object, frozen=True):
    KIND: ClassVar[str] = "Pod"
    API_VERSION: ClassVar[str] = "v1"

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ips(self) -> tuple[str, ...]:
        found = tuple(each.ip for each in self.status.pod_ips if each.ip)
        return found or ((self.status.pod_ip,) if self.status.pod_ip else ())


class Namespace(Object, frozen=True):
    KIND: ClassVar[str] = "Namespace"
    API_VERSION: ClassVar[str] = "v1"
    NAMESPACED: ClassVar[bool] = False


# --- Secret, ConfigMap -------------------------------------------------------------------------------------------


class Secret(Object, frozen=True):
    KIND: ClassVar[str] = "Secret"
    API_VERSION: ClassVar[str] = "v1"

    type: str = "Opaque"
    data: dict[str, str] | None = None
    """Values in base64, as in the API."""
    string_data: dict[str, str] | None = None
    """Plain values; only manifests have them, the API server folds them into `data`. They win over `data`."""


class UnreadSecret(Secret, frozen=True):
    """A Secret that is there, but nobody wants what is in it, or it cannot be read."""

    why: str = ""
    """Why it cannot be; "": it is not wanted, or on its way."""


class ConfigMap(Object, frozen=True):
    KIND: ClassVar[str] = "ConfigMap"
    API_VERSION: ClassVar[str] = "v1"

    data: dict[str, str] | None = None


# --- Ingress, IngressClass ---------------------------------------------------------------------------------------


class ServiceBackendPort(Struct, frozen=True):
    name: str = ""
    number: int = 0


class IngressServiceBackend(Struct, frozen=True):
    name: str
    port: ServiceBackendPort = ServiceBackendPort()


class TypedReference(Struct, frozen=True):
    kind: str
    name: str
    api_group: str | None = None


class IngressBackend(Struct, frozen=True):
    service: IngressServiceBackend | None = None
    resource: TypedReference | None = None


class HTTPIngressPath(Struct, frozen=True):
    backend: IngressBackend
    path: str = ""
    path_type: str | None = None


class HTTPIngressRuleValue(Struct, frozen=True):
    paths: tuple[HTTPIngressPath, ...] = ()


class IngressRule(Struct, frozen=True):
    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Struct, frozen=True):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Struct, frozen=True):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    tls: tuple[IngressTLS, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class IngressStatus(Struct, frozen=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Ingress(Object, frozen=True):
    KIND: ClassVar[str] = "Ingress"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"

    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassSpec(Struct, frozen=True):
    controller: str = ""


class IngressClass(Object, frozen=True):
    KIND: ClassVar[str] = "IngressClass"
    API_VERSION: ClassVar[str] = "networking.k8s.io/v1"
    NAMESPACED: ClassVar[bool] = False

    spec: IngressClassSpec = IngressClassSpec()


KINDS: dict[str, type[Object]] = {
    kind.KIND: kind for kind in (Service, EndpointSlice, Node, Pod, Namespace, Secret, ConfigMap, Ingress, IngressClass)
}
"""Every kind we read, by its name in manifests."""


# --- decoding ----------------------------------------------------------------------------------------------------


class BadObject(Exception):
    """A document is not the object it claims to be: `field` is a path such as `spec.ports[0].port`."""

    def __init__(self, field: str, reason: str, advice: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason
        self.advice = advice


_AT = re.compile(r"^(?P<reason>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


_MISSING = re.compile(r"Object missing required field `(?P<name>.+)`")
_EXPECTED = re.compile(r"Expected `(?P<wanted>.+)`, got `(?P<got>.+)`")
_WORDS = {"str": "text", "int": "a whole number", "bool": "true or false", "array": "a list", "object": "a mapping"}


def _bad_object(cls: type[Object], message: str) -> BadObject:
    """msgspec's "Expected `int`, got `str` - at `$.spec.ports[0].port`", said to somebody who writes YAML."""
    match = _AT.match(message)
    assert match is not None  # the pattern matches any text
    path, reason = match["path"] or "", match["reason"]
    advice = f"see: kubectl explain {cls.KIND.lower()}"
    if missing := _MISSING.fullmatch(reason):
        return BadObject(f"{path}.{missing['name']}".lstrip("."), "is missing", advice)
    if expected := _EXPECTED.fullmatch(reason):
        wanted = [each for each in expected["wanted"].split(" | ") if each != "null"]
        words = " or ".join(_WORDS.get(each, each) for each in wanted)
        if wanted == ["str"] and expected["got"] in ("int", "float", "bool"):
            advice = "put it in quotes"
        return BadObject(path, f"must be {words}, not {_WORDS.get(expected['got'], expected['got'])}", advice)
    return BadObject(path, reason, advice)


def decode(document: Mapping[str, Any]) -> Object:
    """Turn one decoded JSON or YAML mapping into its struct.

    A namespaced object without a namespace lands in "default", as kubectl does it.
    Raises BadObject when the kind is not one of `KINDS`, or a field is missing or has the wrong type.
    """
    kind = document.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise BadObject("kind", f"{kind!r} is not a kind read here", f"use one of: {', '.join(sorted(KINDS))}")
    version = document.get("apiVersion")
    if version != cls.API_VERSION:
        raise BadObject("apiVersion", f"{version!r} is not served for {kind}", f"write apiVersion: {cls.API_VERSION}")
    try:
        found = msgspec.convert(document, cls)
    except msgspec.ValidationError as error:
        raise _bad_object(cls, str(error)) from None
    if cls.NAMESPACED and not found.metadata.namespace:
        found = msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, namespace="default"))
    return found
