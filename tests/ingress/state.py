"""Short ways to write cluster state in tests: YAML text, or an Ingress and its Services in one line each."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ingress.routes.classes import STANDALONE, Selection
from ingress.routes.compile import RoutingTable
from ingress.routes.model import Defaults
from ingress.routes.tables import NO_DEFAULTS
from lb.cluster.objects import EndpointSlice, Ingress, Object, Service, decode
from lb.cluster.store import ObjectStore


def objects(text: str) -> list[Object]:
    """Decode YAML documents."""
    return [decode(each) for each in yaml.safe_load_all(text) if each]


def store_of(*found: Object) -> ObjectStore:
    store = ObjectStore()
    for each in found:
        store.put(each)
    return store


def table_of(*found: Object, selection: Selection = STANDALONE, defaults: Defaults = NO_DEFAULTS) -> RoutingTable:
    """The tables compiled from these objects."""
    table = RoutingTable(store_of(*found), selection, defaults=defaults)
    table.update(None)
    return table


def backend(service: str, port: int | str = 80) -> dict[str, Any]:
    return {"service": {"name": service, "port": {"number": port} if isinstance(port, int) else {"name": port}}}


def ingress(
    name: str,
    rules: Mapping[str, Sequence[tuple[str, str | None, str]]] | None = None,
    *,
    default: str = "",
    namespace: str = "shop",
    created: str | None = None,
    **spec: Any,
) -> Ingress:
    """rules: host -> (path, pathType, Service). `created` is a year."""
    document: dict[str, Any] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": namespace, "annotations": spec.pop("annotations", {})},
        "spec": {"rules": [_rule(host, paths) for host, paths in (rules or {}).items()], **spec},
    }
    if created:
        document["metadata"]["creationTimestamp"] = f"{created}-01-01T00:00:00Z"
    if default:
        document["spec"]["defaultBackend"] = backend(default)
    found = decode(document)
    assert isinstance(found, Ingress)
    return found


def _rule(host: str, paths: Sequence[tuple[str, str | None, str]]) -> dict[str, Any]:
    listed = []
    for path, kind, service in paths:
        entry: dict[str, Any] = {"path": path, "backend": backend(service)}
        if kind:
            entry["pathType"] = kind
        listed.append(entry)
    return {**({"host": host} if host else {}), **({"http": {"paths": listed}} if listed else {})}


def service(name: str, *addresses: str, namespace: str = "shop", ports: Any = None, **spec: Any) -> list[Object]:
    """A Service on port 80 and one slice with these "ip:port" endpoints, all of them on the same port."""
    made = decode(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"ports": ports or [{"port": 80}], **spec},
        }
    )
    assert isinstance(made, Service)
    if not addresses:
        return [made]
    return [made, endpoint_slice(name, *addresses, namespace=namespace)]


def endpoint_slice(
    name: str, *addresses: str, namespace: str = "shop", slice_name: str = "", port_name: str = ""
) -> EndpointSlice:
    """Endpoints "ip:port", followed by conditions if they are not plainly ready: "10.0.0.1:80 !ready terminating"."""
    endpoints = []
    for each in addresses:
        words = each.split()
        conditions = {word.removeprefix("!"): not word.startswith("!") for word in words[1:]}
        endpoints.append({"addresses": [words[0].rpartition(":")[0]], "conditions": conditions})
    port = int(addresses[0].split()[0].rpartition(":")[2]) if addresses else 80
    made = decode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": slice_name or f"{name}-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": port_name, "port": port, "protocol": "TCP"}],
        }
    )
    assert isinstance(made, EndpointSlice)
    return made
