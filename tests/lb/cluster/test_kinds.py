import pytest

from lb.cluster.kinds import OTHER_KINDS, foreign, kind_fault
from lb.cluster.objects import KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_our_kinds_are_ours(kind: str) -> None:
    content = {"apiVersion": KINDS[kind].API_VERSION, "kind": kind}
    assert not foreign(content)
    assert kind_fault(content) is None


@pytest.mark.parametrize("kind", sorted(OTHER_KINDS))
def test_other_kinds_of_kubernetes_are_foreign(kind: str) -> None:
    assert foreign({"apiVersion": "v1", "kind": kind})
    assert kind not in KINDS


@pytest.mark.parametrize(
    ("version", "kind", "advice"),
    [
        ("networking.k8s.io/v1", "Ingres", "did you mean Ingress?"),
        ("v1", "service", "did you mean Service?"),
        ("discovery.k8s.io/v1", "EndpointSlices", "did you mean EndpointSlice?"),
        ("v1", "Secrets", "did you mean Secret?"),
        ("extensions/v1beta1", "Ingress", "write apiVersion: networking.k8s.io/v1"),
        ("networking.k8s.io/v1beta1", "Ingress", "write apiVersion: networking.k8s.io/v1"),
        ("networking.k8s.io", "Ingress", "write apiVersion: networking.k8s.io/v1"),
        ("netwroking.k8s.io/v1", "Ingress", "write apiVersion: networking.k8s.io/v1"),
        ("apps/v1", "Service", "write apiVersion: v1"),
        ("v2", "Service", "write apiVersion: v1"),
        (1, "Service", "write apiVersion: v1"),
        (None, "Service", "write apiVersion: v1"),
        (None, "Servce", "did you mean Service?"),
    ],
)
def test_slips_of_the_pen(version: object, kind: str, advice: str) -> None:
    content = {"apiVersion": version, "kind": kind}
    assert not foreign(content)
    fault = kind_fault(content)
    assert fault is not None
    assert fault.advice == advice


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("serving.knative.dev/v1", "Service"),
        ("config.openshift.io/v1", "Node"),
        ("traefik.io/v1alpha1", "IngressRoute"),
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("cert-manager.io/v1", "Certificate"),
        ("v1", "SomethingNew"),
    ],
)
def test_custom_resources_are_foreign(version: str, kind: str) -> None:
    assert foreign({"apiVersion": version, "kind": kind})
