import pytest

from lb.cluster.objects import BadObject, ConfigMap, EndpointSlice, Key, Node, Pod, Service, decode


def document(kind: str = "Service", **content: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, **content}


def test_a_namespaced_object_without_namespace_lands_in_default() -> None:
    assert decode(document()).key == Key("Service", "default", "a")
    assert decode(document("Node")).key == Key("Node", "", "a")


def test_names_of_fields_are_those_of_the_api() -> None:
    spec = {"clusterIP": "10.96.0.1", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}
    found = decode(document(spec=spec))
    assert isinstance(found, Service)
    assert found.spec.cluster_ip == "10.96.0.1"
    assert found.spec.session_affinity_config is not None
    assert found.spec.session_affinity_config.client_ip.timeout_seconds == 5
    node = decode(document("Node", spec={"podCIDR": "10.0.0.0/24"}))
    assert isinstance(node, Node)
    assert node.pod_cidrs == ("10.0.0.0/24",)
    pod = decode(document("Pod", status={"podIP": "10.0.0.1", "hostIP": "192.0.2.1"}))
    assert isinstance(pod, Pod)
    assert pod.ips == ("10.0.0.1",)


def test_unknown_fields_are_ignored() -> None:
    assert isinstance(decode(document("ConfigMap", binaryData={"a": "b"})), ConfigMap)


@pytest.mark.parametrize(
    ("content", "field", "reason", "advice"),
    [
        (document("Bucket"), "kind", "'Bucket' is not a kind read here", "use one of: ConfigMap, "),
        ({**document(), "apiVersion": "v2"}, "apiVersion", "'v2' is not served for Service", "write apiVersion: v1"),
        ({"apiVersion": "v1", "kind": "Service"}, "metadata", "is missing", "see: kubectl explain service"),
        ({**document(), "metadata": {}}, "metadata.name", "is missing", "see: kubectl explain service"),
        (document(spec={"ports": 3}), "spec.ports", "must be a list, not a whole number", "see:"),
        (document(spec=[]), "spec", "must be a mapping, not a list", "see:"),
        (document(spec={"ports": [{}]}), "spec.ports[0].port", "is missing", "see:"),
        (document(spec={"ports": [{"port": "80"}]}), "spec.ports[0].port", "must be a whole number, not text", "see:"),
        (document(spec={"clusterIP": 1}), "spec.clusterIP", "must be text, not a whole number", "put it in quotes"),
        ({**document(), "metadata": {"name": "a", "labels": {"x": True}}}, "metadata.labels[...]",
         "must be text, not true or false", "put it in quotes"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_field(content: dict[str, object], field: str, reason: str, advice: str) -> None:
    with pytest.raises(BadObject) as caught:
        decode(content)
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert caught.value.advice.startswith(advice)


def test_a_slice_knows_its_service() -> None:
    labels = {"kubernetes.io/service-name": "web"}
    content = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "a", "labels": labels},
    }
    found = decode(content)
    assert isinstance(found, EndpointSlice)
    assert found.service_name == "web"
