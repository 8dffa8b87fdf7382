"""Services without EndpointSlices in a folder: the Pods their selector names, as if a controller had made slices. Pure.

A cluster has a controller for that; a folder has nobody, so a Pod with a status.podIP is as good.
"""

from collections.abc import Iterable, Iterator, Mapping

from lb.cluster.objects import (
    SERVICE_NAME_LABEL,
    EndpointConditions,
    EndpointSlice,
    Metadata,
    Pod,
    Service,
    ServicePort,
    SliceEndpoint,
    SlicePort,
)


def slices_of_pods(service: Service, pods: Iterable[Pod]) -> list[EndpointSlice]:
    """One slice for each selected Pod and address family; a named target port may be another number in each."""
    selector = service.spec.selector
    if not selector:
        return []
    found = (each for each in pods if each.metadata.namespace == service.metadata.namespace)
    return [made for pod in found if selects(selector, pod) for made in _slices(service, pod)]


def selects(selector: Mapping[str, str], pod: Pod) -> bool:
    labels = pod.metadata.labels or {}
    return all(labels.get(name) == value for name, value in selector.items())


def _slices(service: Service, pod: Pod) -> Iterator[EndpointSlice]:
    if pod.status.phase in ("Succeeded", "Failed"):
        return
    ports = tuple(
        SlicePort(port=number, name=port.name, protocol=port.protocol)
        for port in service.spec.ports
        if (number := _target(port, pod))
    )
    going = bool(pod.metadata.deletion_timestamp)
    ready = all(each.status == "True" for each in pod.status.conditions if each.type == "Ready")
    conditions = EndpointConditions(ready=ready and not going, serving=ready, terminating=going)
    for ip in pod.ips:
        family = "IPv6" if ":" in ip else "IPv4"
        yield EndpointSlice(
            metadata=Metadata(
                name=f"{pod.metadata.name}-{family.lower()}",
                namespace=service.metadata.namespace,
                labels={SERVICE_NAME_LABEL: service.metadata.name},
            ),
            address_type=family,
            endpoints=(SliceEndpoint(addresses=(ip,), conditions=conditions),),
            ports=ports,
        )


def _target(port: ServicePort, pod: Pod) -> int:
    """The number a Service port means in this Pod, 0 if it has no port of that name."""
    if isinstance(port.target_port, str):
        named = (each for container in pod.spec.containers for each in container.ports)
        wanted = (port.target_port, port.protocol)
        return next((each.container_port for each in named if (each.name, each.protocol) == wanted), 0)
    return port.target_port or port.port
