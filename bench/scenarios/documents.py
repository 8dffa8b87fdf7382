"""Manifests for the scenarios, as the objects that YAML (or JSON) files hold. Pure."""

from base64 import b64encode
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]


def service(name: str, cluster_ip: str = "10.96.0.1", target_port: int = 80, **spec: Any) -> Document:
    ports = [{"port": 80, "targetPort": target_port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {"clusterIP": cluster_ip, "ports": ports, **spec},
    }


def endpoints(service_name: str, port: int, number: int = 1, addresses: Sequence[str] = ("127.0.0.1",)) -> Document:
    """One EndpointSlice: `addresses`, all at one port."""
    labels = {"kubernetes.io/service-name": service_name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service_name}-{number}", "namespace": "bench", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": port}],
        "endpoints": [{"addresses": [each]} for each in addresses],
    }


def secret(name: str, certificate: bytes, key: bytes) -> Document:
    data = {"tls.crt": b64encode(certificate).decode(), "tls.key": b64encode(key).decode()}
    metadata = {"name": name, "namespace": "bench"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}


def ingress(
    name: str, hosts: Sequence[str], service_name: str = "web", paths: Sequence[str] = ("/",), tls_secret: str = ""
) -> Document:
    """`tls_secret`: of the certificate of these hosts."""
    backend = {"service": {"name": service_name, "port": {"number": 80}}}
    rules = [
        {"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]}}
        for host in hosts
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "bench"},
        "spec": {"rules": rules, **({"tls": [{"hosts": [*hosts], "secretName": tls_secret}]} if tls_secret else {})},
    }


def node(name: str, address: str, pods: str) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDRs": [pods]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }
