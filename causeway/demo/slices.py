"""Services and pods -> EndpointSlices, as the EndpointSlice controller writes them (discovery.k8s.io/v1).

A pod that is going stays in the slice as terminating, and serving while its program still runs, until it is gone: that
is what lets everybody move away from it before it stops.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lb.cluster.objects import SERVICE_NAME_LABEL, ContainerPort, Service, ServicePort


@dataclass(frozen=True)
class RunningPod:
    """What an EndpointSlice says about a pod. `ip` "" means it has no address yet."""

    namespace: str
    name: str
    node: str
    ip: str
    labels: Mapping[str, str]
    ports: tuple[ContainerPort, ...]
    ready: bool
    terminating: bool


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


def slices(service: Service, pods: Iterable[RunningPod]) -> list[dict[str, Any]]:
    """The EndpointSlice documents of one Service; none for a Service without selector, which somebody else fills.

    One slice for each set of port numbers: a named targetPort may be another number in every pod.
    """
    if not service.spec.selector or service.spec.type == "ExternalName":
        return []
    groups: dict[tuple[tuple[str, str, int], ...], list[RunningPod]] = {}
    for pod in pods:
        mine = pod.namespace == service.metadata.namespace and selects(service.spec.selector, pod.labels)
        if mine and pod.ip:
            numbers = tuple((port.name, port.protocol, target(port, pod)) for port in service.spec.ports)
            groups.setdefault(tuple(each for each in numbers if each[2]), []).append(pod)
    return [
        one_slice(service, index, ports, sorted(members, key=lambda pod: pod.name))
        for index, (ports, members) in enumerate(sorted(groups.items()))
    ]


def target(port: ServicePort, pod: RunningPod) -> int:
    """The number a Service port means in this pod, 0 when the pod has no port of that name."""
    if port.target_port is None:
        return port.port
    if isinstance(port.target_port, int):
        return port.target_port
    wanted = (port.target_port, port.protocol)
    return next((each.container_port for each in pod.ports if (each.name, each.protocol) == wanted), 0)


def one_slice(
    service: Service, index: int, ports: tuple[tuple[str, str, int], ...], members: list[RunningPod]
) -> dict[str, Any]:
    name = service.metadata.name
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{index}",
            "namespace": service.metadata.namespace,
            "labels": {SERVICE_NAME_LABEL: name, "endpointslice.kubernetes.io/managed-by": "causeway-demo"},
        },
        "addressType": "IPv4",
        "ports": [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports],
        "endpoints": [endpoint(pod) for pod in members],
    }


def endpoint(pod: RunningPod) -> dict[str, Any]:
    return {
        "addresses": [pod.ip],
        "conditions": {
            "ready": pod.ready and not pod.terminating,
            "serving": pod.ready,
            "terminating": pod.terminating,
        },
        "nodeName": pod.node,
        "targetRef": {"kind": "Pod", "namespace": pod.namespace, "name": pod.name},
    }
