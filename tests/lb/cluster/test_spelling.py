from typing import Any

import pytest

from lb.cluster.objects import EndpointSlice, Ingress, Pod, Service
from lb.cluster.spelling import misspelt


@pytest.mark.parametrize(
    ("cls", "content", "field", "meant"),
    [
        (Service, {"spec": {"ports": [{"port": 80, "tragetPort": 1}]}}, "spec.ports[0].tragetPort", "targetPort"),
        (Service, {"spec": {"ports": [{"port": 80, "nodeport": 1}]}}, "spec.ports[0].nodeport", "nodePort"),
        (Service, {"spec": {"port": []}}, "spec.port", "ports"),
        (Service, {"spec": {"externalTraficPolicy": "Local"}}, "spec.externalTraficPolicy", "externalTrafficPolicy"),
        (Service, {"spec": {"clusterIp": "None"}}, "spec.clusterIp", "clusterIP"),
        (
            Service,
            {"spec": {"sessionAffinityConfig": {"clientIp": {}}}},
            "spec.sessionAffinityConfig.clientIp",
            "clientIP",
        ),
        (Ingress, {"spec": {"rule": []}}, "spec.rule", "rules"),
        (Ingress, {"spec": {"rules": [{"http": {"path": []}}]}}, "spec.rules[0].http.path", "paths"),
        (Ingress, {"spec": {"ingressclassName": "a"}}, "spec.ingressclassName", "ingressClassName"),
        (EndpointSlice, {"endpoints": [{"adresses": []}]}, "endpoints[0].adresses", "addresses"),
        (EndpointSlice, {"endpoints": [{"nodename": "a"}]}, "endpoints[0].nodename", "nodeName"),
    ],
)
def test_a_field_that_looks_like_another(cls: Any, content: dict[str, Any], field: str, meant: str) -> None:
    (fault,) = misspelt(cls, content)
    assert (fault.field, fault.advice) == (field, f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("cls", "content"),
    [
        (Service, {"spec": {"selector": {"port": "x", "typ": "y"}, "somethingNew": 1, "ports": []}}),
        (Service, {"spec": None}),
        (Service, {"spec": {"ports": 3}}),
        (Service, {"spec": {"clusterIP": "a", "clusterIPs": ["a"]}}),
        (
            EndpointSlice,
            {"endpoints": [{"deprecatedTopology": {}, "targetRef": {"apiVersion": "v1", "fieldPath": ""}}]},
        ),
        (Pod, {"spec": {"nodename": "a"}}),
    ],
)
def test_fields_that_are_not_ours_to_judge(cls: Any, content: dict[str, Any]) -> None:
    assert misspelt(cls, content) == ()
