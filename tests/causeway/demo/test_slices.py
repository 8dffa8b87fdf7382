from typing import Any

import pytest

from causeway.demo.slices import RunningPod, slices
from lb.cluster.objects import ContainerPort, EndpointSlice, Service, decode
from lb.cluster.validate import validate

WEB = {"app": "web"}


def pod(name: str, **change: Any) -> RunningPod:
    said: dict[str, Any] = {
        "namespace": "shop", "node": "n1", "ip": f"10.244.1.{name[-1]}", "labels": WEB,
        "ports": (ContainerPort(name="http", container_port=8080),), "ready": True, "terminating": False,
    }  # fmt: skip
    return RunningPod(name=name, **{**said, **change})


def service(**spec: Any) -> Service:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": WEB, "clusterIP": "10.96.0.1", "ports": ports, **spec},
    }
    found = decode(document)
    assert isinstance(found, Service)
    return found


def addresses(found: list[dict[str, Any]]) -> list[str]:
    return [address for each in found for endpoint in each["endpoints"] for address in endpoint["addresses"]]


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([pod("web-2"), pod("web-1")], ["10.244.1.1", "10.244.1.2"]),
        ([pod("web-1", labels={"app": "cart"})], []),
        ([pod("web-1", labels={"app": "web", "more": "x"})], ["10.244.1.1"]),
        ([pod("web-1", namespace="other")], []),
        ([pod("web-1", ip="")], []),  # no address yet
        ([pod("web-1", ready=False)], ["10.244.1.1"]),  # in the slice, as not ready
    ],
)
def test_who_is_in(pods: list[RunningPod], expected: list[str]) -> None:
    assert addresses(slices(service(), pods)) == expected


@pytest.mark.parametrize(
    ("ready", "terminating", "conditions"),
    [
        (True, False, (True, True, False)),
        (False, False, (False, False, False)),
        (True, True, (False, True, True)),  # still serving, and everybody may move away
        (False, True, (False, False, True)),
    ],
)
def test_conditions(ready: bool, terminating: bool, conditions: tuple[bool, bool, bool]) -> None:
    found = slices(service(), [pod("web-1", ready=ready, terminating=terminating)])[0]["endpoints"][0]["conditions"]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([{"name": "http", "port": 80, "targetPort": "http"}], [("http", "TCP", 8080)]),
        ([{"name": "http", "port": 80, "targetPort": 9}], [("http", "TCP", 9)]),
        ([{"name": "http", "port": 80}], [("http", "TCP", 80)]),
        ([{"name": "x", "port": 80, "targetPort": "nope"}], []),
        ([{"name": "x", "port": 80, "targetPort": "http", "protocol": "UDP"}], []),
    ],
)
def test_ports(ports: list[dict[str, Any]], expected: list[tuple[str, str, int]]) -> None:
    found = slices(service(ports=ports), [pod("web-1")])[0]["ports"]
    assert [(each["name"], each["protocol"], each["port"]) for each in found] == expected


def test_a_name_may_be_another_number_in_each_pod() -> None:
    other = pod("web-2", ports=(ContainerPort(name="http", container_port=9090),))
    found = slices(service(), [pod("web-1"), other])
    assert [(each["ports"][0]["port"], addresses([each])) for each in found] == [
        (8080, ["10.244.1.1"]),
        (9090, ["10.244.1.2"]),
    ]
    assert len({each["metadata"]["name"] for each in found}) == 2


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "a.example"}])
def test_services_that_have_none(spec: dict[str, Any]) -> None:
    assert slices(service(**spec), [pod("web-1")]) == []


def test_they_are_what_the_components_read() -> None:
    for document in slices(service(), [pod("web-1")]):
        found = decode(document)
        assert isinstance(found, EndpointSlice)
        assert found.service_name == "web"
        assert validate(found) == ()
