"""Routes given on the command line -> the same objects a folder would hold, so that nothing downstream can tell.

`--to` becomes an Ingress with a default backend, `--route` one with rules, each target a Service with EndpointSlices.
"""

from collections.abc import Iterator, Sequence

import msgspec

from ingress.routes.classes import CLASS_ANNOTATION
from ingress.routes.model import EVERY_HOST, Endpoint
from lb.cluster.objects import (
    SERVICE_NAME_LABEL,
    EndpointSlice,
    HTTPIngressPath,
    HTTPIngressRuleValue,
    Ingress,
    IngressBackend,
    IngressRule,
    IngressServiceBackend,
    IngressSpec,
    Metadata,
    Object,
    Service,
    ServiceBackendPort,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
)

NAMESPACE = "command-line"
SERVICE_PORT = 80
OLDEST = "0001-01-01T00:00:00Z"
"""What was typed just now wins over what lies in a folder."""


class FlagRoute(msgspec.Struct, frozen=True):
    """One `--route`: everything of `host` (EVERY_HOST: of any) at and below `path` goes to the endpoints."""

    host: str
    path: str
    endpoints: tuple[Endpoint, ...]


def objects_of(to: Sequence[Endpoint], routes: Sequence[FlagRoute], class_annotation: str) -> Iterator[Object]:
    """The objects that say the same as the flags. `class_annotation` is a class that is served here."""
    default = None
    if to:
        default = _backend("to")
        yield from _service("to", to)
        if EVERY_HOST not in {route.host for route in routes}:  # else the default backend of the rules covers it
            yield _ingress("to", class_annotation, IngressSpec(default_backend=default))
    rules = []
    for number, route in enumerate(routes, 1):
        name = f"route-{number}"
        yield from _service(name, route.endpoints)
        path = HTTPIngressPath(path=route.path, path_type="Prefix", backend=_backend(name))
        rules.append(IngressRule(host=route.host, http=HTTPIngressRuleValue(paths=(path,))))
    if rules:
        yield _ingress("routes", class_annotation, IngressSpec(rules=tuple(rules), default_backend=default))


def _ingress(name: str, class_annotation: str, spec: IngressSpec) -> Ingress:
    metadata = Metadata(
        name=name,
        namespace=NAMESPACE,
        creation_timestamp=OLDEST,
        annotations={CLASS_ANNOTATION: class_annotation},
    )
    return Ingress(metadata=metadata, spec=spec)


def _backend(service: str) -> IngressBackend:
    return IngressBackend(service=IngressServiceBackend(name=service, port=ServiceBackendPort(number=SERVICE_PORT)))


def _service(name: str, endpoints: Sequence[Endpoint]) -> Iterator[Object]:
    """A Service, and a slice for each port and address family: the endpoints of one slice share their port."""
    metadata = Metadata(name=name, namespace=NAMESPACE)
    yield Service(metadata=metadata, spec=ServiceSpec(ports=(ServicePort(port=SERVICE_PORT),)))
    groups: dict[tuple[int, str], list[str]] = {}
    for ip, port in endpoints:
        groups.setdefault((port, "IPv6" if ":" in ip else "IPv4"), []).append(ip)
    for (port, family), addresses in groups.items():
        yield EndpointSlice(
            metadata=Metadata(
                name=f"{name}-{port}-{family.lower()}", namespace=NAMESPACE, labels={SERVICE_NAME_LABEL: name}
            ),
            address_type=family,
            endpoints=tuple(SliceEndpoint(addresses=(ip,)) for ip in addresses),
            ports=(SlicePort(port=port),),
        )
