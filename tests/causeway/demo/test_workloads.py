from typing import Any

import pytest
import yaml

from causeway.demo.workloads import (
    ContainerTemplate,
    Deployment,
    Env,
    EnvSource,
    FieldRef,
    Placement,
    PodName,
    decode_deployment,
    environment,
    expand,
    free_name,
    plan,
    port_number,
    set_replicas,
)
from lb.cluster.objects import BadObject, ContainerPort

NODES = ("n1", "n2", "n3")


def document(name: str, replicas: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c"}]}},
        },
    }


def deployment(name: str, replicas: int) -> Deployment:
    return decode_deployment(document(name, replicas))


def placed(*where: str) -> list[Placement]:
    """ "web-1@n1" -> a Placement."""
    found = []
    for each in where:
        pod, node = each.split("@")
        found.append(Placement(PodName("shop", pod), pod.rpartition("-")[0], node))
    return found


def texts(placements: tuple[Placement, ...]) -> list[str]:
    return [f"{each.pod.name}@{each.node}" for each in placements]


@pytest.mark.parametrize(
    ("wanted", "present", "nodes", "start", "stop"),
    [
        # nothing there: one on each node, then round again
        ({"web": 4}, [], NODES, ["web-1@n1", "web-2@n2", "web-3@n3", "web-4@n1"], []),
        # another Deployment goes where fewer pods are
        ({"web": 1, "desk": 1}, [], NODES, ["web-1@n1", "desk-1@n2"], []),
        ({"web": 3}, ["web-1@n1", "web-2@n2", "web-3@n3"], NODES, [], []),
        # the lowest free name comes again
        ({"web": 3}, ["web-1@n1", "web-3@n3"], NODES, ["web-2@n2"], []),
        # down: from the fullest node first, the youngest first
        ({"web": 2}, ["web-1@n1", "web-2@n2", "web-3@n1"], NODES, [], ["web-3@n1"]),
        ({"web": 1}, ["web-1@n1", "web-2@n2", "web-3@n3"], NODES, [], ["web-3@n3", "web-2@n2"]),
        ({"web": 0}, ["web-1@n1", "web-2@n2"], NODES, [], ["web-2@n2", "web-1@n1"]),
        # a Deployment that is gone takes its pods with it
        ({}, ["web-1@n1"], NODES, [], ["web-1@n1"]),
        # only nodes that answer take pods; without any, nothing starts
        ({"web": 2}, [], ("n2",), ["web-1@n2", "web-2@n2"], []),
        ({"web": 2}, [], (), [], []),
    ],
)
def test_plan(
    wanted: dict[str, int], present: list[str], nodes: tuple[str, ...], start: list[str], stop: list[str]
) -> None:
    change = plan([deployment(*each) for each in wanted.items()], placed(*present), nodes)
    assert (texts(change.start), texts(change.stop)) == (start, stop)


def test_a_name_is_free_only_when_its_pod_is_gone() -> None:
    change = plan([deployment("web", 2)], placed("web-1@n1"), NODES, going=[PodName("shop", "web-2")])
    assert texts(change.start) == ["web-3@n2"]


def test_free_name() -> None:
    assert free_name("web", {"web-1", "web-3"}) == "web-2"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spec": {}}, "spec.template"),
        ({"spec": {"template": {"spec": {}}}}, "containers"),
        ({"spec": {**document("web", 1)["spec"], "replicas": "many"}}, "replicas"),
        ({"spec": {**document("web", 1)["spec"], "replicas": -1}}, "less than none"),
    ],
)
def test_bad_deployments(change: dict[str, Any], says: str) -> None:
    with pytest.raises(BadObject, match=says):
        decode_deployment({**document("web", 1), **change})


def test_the_template_is_kept_as_written() -> None:
    assert deployment("web", 1).raw_template["spec"] == {"containers": [{"name": "c"}]}


def test_environment() -> None:
    me = EnvSource(field_ref=FieldRef(field_path="metadata.name"))
    container = ContainerTemplate(name="c", env=(Env(name="A", value="1"), Env(name="ME", value_from=me)))
    assert environment(container, {"metadata.name": "web-1"}) == {"A": "1", "ME": "web-1"}
    with pytest.raises(BadObject, match="not known to the demo"):
        environment(container, {"spec.nodeName": "n1"})


def test_expand() -> None:
    assert expand(["-f", "$(DIR)/x", "$(NOT)", "$DIR"], {"DIR": "/m"}) == ["-f", "/m/x", "$(NOT)", "$DIR"]


def test_port_number() -> None:
    container = ContainerTemplate(name="c", ports=(ContainerPort(name="http", container_port=8080),))
    assert port_number(container, 80) == 80
    assert port_number(container, "http") == 8080
    with pytest.raises(BadObject, match="not the name of one of its ports"):
        port_number(container, "admin")


TEXT = """# the shop
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3  # three
---
kind: Service
metadata:
  name: cart
---
kind: Deployment
metadata:
  name: cart
spec:
  replicas: 2
"""


@pytest.mark.parametrize(("name", "expected"), [("web", (5, 2)), ("cart", (3, 5))])
def test_set_replicas(name: str, expected: tuple[int, int]) -> None:
    changed = set_replicas(TEXT, name, 5)
    assert tuple(each["spec"]["replicas"] for each in yaml.safe_load_all(changed) if "spec" in each) == expected
    assert "# the shop" in changed
    assert "# three" in changed


def test_set_replicas_of_nobody() -> None:
    with pytest.raises(LookupError):
        set_replicas(TEXT, "desk", 1)
