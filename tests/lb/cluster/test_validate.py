from typing import Any

import pytest

from lb.cluster.objects import decode
from lb.cluster.validate import validate, validate_status


def faults(kind: str, /, name: str = "a", **content: Any) -> list[tuple[str, str]]:
    versions = {"EndpointSlice": "discovery.k8s.io/v1", "Ingress": "networking.k8s.io/v1"}
    document = {"apiVersion": versions.get(kind, "v1"), "kind": kind, "metadata": {"name": name}, **content}
    return [(fault.field, fault.reason) for fault in validate(decode(document))]


def service(*ports: dict[str, Any], **spec: Any) -> list[tuple[str, str]]:
    return faults("Service", spec={"ports": ports or [{"port": 80}], **spec})


@pytest.mark.parametrize("name", ["web", "a", "web-1", "1web", "a" * 63])
def test_good_names_of_services(name: str) -> None:
    assert faults("Service", name=name, spec={"ports": [{"port": 80}]}) == []


@pytest.mark.parametrize("name", ["", "Web", "web_1", "-web", "web-", "we.b", "a" * 64, "a/b", "../x", "web\n"])
def test_bad_names_of_services(name: str) -> None:
    assert [field for field, _ in faults("Service", name=name, spec={"ports": [{"port": 80}]})] == ["metadata.name"]


@pytest.mark.parametrize(
    ("name", "good"), [("a.b", True), ("a" * 254, False), ("a..b", False), ("A", False), ("a.", False)]
)
def test_names_of_others(name: str, good: bool) -> None:
    assert (faults("ConfigMap", name=name) == []) is good


def test_namespaces() -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "a.b"}}
    assert [fault.field for fault in validate(decode(document))] == ["metadata.namespace"]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080, "targetPort": "http"}]},
        {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"], "loadBalancerIP": "192.0.2.1"},
        {"clusterIP": "None", "ports": []},
        {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilyPolicy": "RequireDualStack"},
        {"type": "ExternalName", "externalName": "db.example.org.", "ports": []},
        {"ports": [{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53}]},
        {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86400}}},
        {"externalIPs": ["192.0.2.7"]},
    ],
)
def test_good_services(spec: dict[str, Any]) -> None:
    assert service(**spec) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"type": "Loadbalancer"}, "spec.type"),
        ({"ports": []}, "spec.ports"),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 65536}]}, "spec.ports[0].port"),
        ({"ports": [{"port": 80, "protocol": "tcp"}]}, "spec.ports[0].protocol"),
        ({"ports": [{"port": 80, "targetPort": 0}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "targetPort": "8080"}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "targetPort": "a-name-that-is-long"}]}, "spec.ports[0].targetPort"),
        ({"ports": [{"port": 80, "nodePort": 30080}]}, "spec.ports[0].nodePort"),
        ({"type": "NodePort", "ports": [{"port": 80, "nodePort": -1}]}, "spec.ports[0].nodePort"),
        ({"ports": [{"port": 80, "name": "HTTP"}]}, "spec.ports[0].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, "spec.ports[1].name"),
        ({"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, "spec.ports[1].port"),
        ({"clusterIP": "10.96.0"}, "spec.clusterIP"),
        ({"clusterIP": "10.96.0.01"}, "spec.clusterIP"),
        ({"clusterIP": "None", "type": "NodePort"}, "spec.clusterIP"),
        ({"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]}, "spec.clusterIPs[0]"),
        ({"externalIPs": ["127.0.0.1"]}, "spec.externalIPs[0]"),
        ({"externalIPs": ["fe80::1%eth0"]}, "spec.externalIPs[0]"),
        ({"loadBalancerIP": "x"}, "spec.loadBalancerIP"),
        ({"loadBalancerSourceRanges": ["10.0.0.0/33"]}, "spec.loadBalancerSourceRanges[0]"),
        ({"loadBalancerSourceRanges": ["10.0.0.1"]}, "spec.loadBalancerSourceRanges[0]"),
        ({"sessionAffinity": "Cookie"}, "spec.sessionAffinity"),
        (
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
        ),
        ({"externalTrafficPolicy": "local"}, "spec.externalTrafficPolicy"),
        ({"internalTrafficPolicy": "x"}, "spec.internalTrafficPolicy"),
        ({"type": "ExternalName"}, "spec.externalName"),
        ({"ipFamilies": ["ipv4"]}, "spec.ipFamilies[0]"),
        ({"ipFamilyPolicy": "Dual"}, "spec.ipFamilyPolicy"),
    ],
)  # fmt: skip
def test_bad_services(spec: dict[str, Any], field: str) -> None:
    assert [found for found, _ in service(**spec)] == [field]


def test_two_ports_on_one_node_port() -> None:
    ports = [{"name": name, "port": port, "nodePort": 30080} for name, port in (("a", 80), ("b", 81))]
    assert faults("Service", spec={"type": "NodePort", "ports": ports}) == [
        ("spec.ports[1].nodePort", "its protocol and node port is the same as that of spec.ports[0]")
    ]


def slice_(**content: Any) -> list[tuple[str, str]]:
    good = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 8080}]}
    return faults("EndpointSlice", **{**good, **content})


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"endpoints": [{"addresses": ["127.0.0.1"]}]},
        {"addressType": "IPv6", "endpoints": [{"addresses": ["::1"]}]},
        {"addressType": "FQDN", "endpoints": [{"addresses": ["db.example.org"]}]},
        {"ports": [{"name": "a", "port": 1}, {"name": "b"}]},
        {"endpoints": [], "ports": []},
    ],
)
def test_good_slices(content: dict[str, Any]) -> None:
    assert slice_(**content) == []


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"addressType": "ipv4"}, "addressType"),
        ({"endpoints": [{"addresses": []}]}, "endpoints[0].addresses"),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0"]}]}, "endpoints[1].addresses[0]"),
        ({"endpoints": [{"addresses": ["fd00::1"]}]}, "endpoints[0].addresses[0]"),
        ({"addressType": "FQDN", "endpoints": [{"addresses": ["a b"]}]}, "endpoints[0].addresses[0]"),
        ({"ports": [{"port": 70000}]}, "ports[0].port"),
        ({"ports": [{"port": 80, "protocol": "HTTP"}]}, "ports[0].protocol"),
        ({"ports": [{"port": 80, "name": "a_b"}]}, "ports[0].name"),
        ({"ports": [{"port": 80}, {"port": 81}]}, "ports[1].name"),
        ({"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001}, "endpoints"),
    ],
)
def test_bad_slices(content: dict[str, Any], field: str) -> None:
    assert [found for found, _ in slice_(**content)] == [field]


@pytest.mark.parametrize(
    ("kind", "content", "fields"),
    [
        ("Node", {"spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}}, []),
        ("Node", {"spec": {"podCIDR": "10.244.1.0"}}, ["spec.podCIDR"]),
        ("Node", {"spec": {"podCIDRs": ["x"]}}, ["spec.podCIDRs[0]"]),
        ("Node", {"status": {"addresses": [{"type": "InternalIP", "address": "x"}]}}, ["status.addresses[0].address"]),
        ("Node", {"status": {"addresses": [{"type": "Hostname", "address": "x"}]}}, []),
        (
            "Pod",
            {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "x"}]}},
            ["status.podIPs[1].ip"],
        ),
        ("Pod", {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}, ["spec.containers[1].name"]),
        (
            "Pod",
            {"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostPort": 99999}]}]}},
            ["spec.containers[0].ports[0].hostPort"],
        ),
        ("Secret", {"data": {"a": "b25l", "b": "b25\nl"}}, []),
        ("Secret", {"data": {"a": "not base64!"}}, ["data.a"]),
        ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, ["data.tls.key"]),
        ("Secret", {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "", "tls.key": ""}}, []),
    ],
)
def test_nodes_pods_and_secrets(kind: str, content: dict[str, Any], fields: list[str]) -> None:
    assert [field for field, _ in faults(kind, **content)] == fields


def path(**changes: Any) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {"path": "/", "pathType": "Prefix", "backend": backend, **changes}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, ""),
        ({"path": "", "pathType": "ImplementationSpecific"}, ""),
        ({"backend": {"resource": {"kind": "Bucket", "name": "a"}}}, ""),
        ({"pathType": "prefix"}, "pathType"),
        ({"pathType": None}, ""),
        ({"pathType": None, "path": ""}, ""),
        ({"path": "shop"}, "path"),
        ({"path": ""}, "path"),
        ({"backend": {}}, "backend"),
        ({"backend": {"service": {"name": "web", "port": {}}}}, "backend.service.port"),
        ({"backend": {"service": {"name": "web", "port": {"name": "a", "number": 1}}}}, "backend.service.port"),
        ({"backend": {"service": {"name": "web", "port": {"number": 99999}}}}, "backend.service.port.number"),
    ],
)
def test_paths_of_ingresses(changes: dict[str, Any], field: str) -> None:
    found = faults("Ingress", spec={"rules": [{"http": {"paths": [path(**changes)]}}]})
    assert [name for name, _ in found] == ([f"spec.rules[0].http.paths[0].{field}"] if field else [])


def test_an_ingress_without_anything() -> None:
    assert faults("Ingress", spec={}) == [("spec", "has neither rules nor defaultBackend")]


def test_of_a_status_only_the_status_is_looked_at() -> None:
    document = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "x"}, {}]}}
    found = validate_status(decode({**document, "status": status}))
    assert [fault.field for fault in found] == ["status.loadBalancer.ingress[1].ip", "status.loadBalancer.ingress[2]"]
