"""Who may answer for a Service port. Letters stand for endpoints; how they are written is told at `slice_of`."""

from typing import Any

import pytest

from lb.cluster.objects import EndpointSlice, Service, decode
from lb.endpoints import Endpoint, Here, port_endpoints, port_named

NODE_OF = {"A": "one", "B": "one", "C": "two", "D": "three"}
ZONE_OF = {"A": "east", "B": "east", "C": "east", "D": "west"}


def service_with(**spec: Any) -> Service:
    found = decode(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "named"}], **spec},
        }
    )
    assert isinstance(found, Service)
    return found


def slice_of(letters: str, *, name: str = "web-1", ports: Any = None, hints: Any = None, **more: Any) -> EndpointSlice:
    """ "A" is ready, "-A" not ready, "~A" terminating and serving, "!A" terminating and not serving."""
    endpoints = []
    for each in letters.split():
        how, letter = each[:-1], each[-1]
        conditions = {"ready": how == "", "serving": how in ("", "~"), "terminating": how in ("~", "!")}
        found: dict[str, Any] = {
            "addresses": [f"10.0.0.{ord(letter)}"],
            "nodeName": NODE_OF[letter],
            "conditions": conditions,
        }
        if hints and letter in hints:
            found["hints"] = hints[letter]
        endpoints.append(found)
    decoded = decode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080}] if ports is None else ports,
            **more,
        }
    )
    assert isinstance(decoded, EndpointSlice)
    return decoded


def letters(found: tuple[Endpoint, ...]) -> str:
    return "".join(chr(int(each.address.rpartition(".")[2])) for each in found)


def asked(*slices: EndpointSlice, here: Here = Here("one", "east"), service: Service | None = None) -> tuple[str, str]:  # noqa: B008
    service = service or service_with()
    found = port_endpoints(service, service.spec.ports[0], slices, here=here)
    return letters(found.cluster), letters(found.local)


@pytest.mark.parametrize(
    ("written", "cluster", "local"),
    [
        ("A B C", "ABC", "AB"),
        ("C D", "CD", ""),
        ("A -B C", "AC", "A"),
        ("-A -B", "", ""),
        ("", "", ""),
        ("A ~B C ~D", "AC", "A"),
        ("~A C", "C", "A"),  # decided separately: here the terminating one is the only one
        ("~A !B ~C", "AC", "A"),
        ("!A !C", "", ""),
        ("-A ~C", "C", ""),
    ],
)
def test_ready_first_else_terminating_but_serving(written: str, cluster: str, local: str) -> None:
    assert asked(slice_of(written)) == (cluster, local)


def test_without_a_node_nothing_is_local() -> None:
    assert asked(slice_of("A C"), here=Here()) == ("AC", "")


def test_conditions_left_out_mean_ready() -> None:
    found = slice_of("", endpoints=[{"addresses": ["10.0.0.65"]}])
    assert asked(found) == ("A", "")


def test_serving_left_out_means_the_same_as_ready() -> None:
    found = slice_of("", endpoints=[{"addresses": ["10.0.0.65"], "conditions": {"ready": False, "terminating": True}}])
    assert asked(found) == ("", "")


def test_publish_not_ready_addresses() -> None:
    service = service_with(publishNotReadyAddresses=True)
    assert asked(slice_of("-A !B C"), service=service) == ("ABC", "AB")


def test_slices_are_merged_and_the_abler_copy_of_an_endpoint_counts() -> None:
    assert asked(slice_of("-A C"), slice_of("A", name="web-2")) == ("AC", "A")
    assert asked(slice_of("A C"), slice_of("-A", name="web-2")) == ("AC", "A")


def nodes(*names: str) -> dict[str, Any]:
    return {"forNodes": [{"name": each} for each in names]}


def zones(*names: str) -> dict[str, Any]:
    return {"forZones": [{"name": each} for each in names]}


@pytest.mark.parametrize(
    ("hints", "written", "cluster"),
    [
        ({"A": zones("east"), "D": zones("west")}, "A D", "A"),
        ({"A": zones("east"), "D": zones("west", "east")}, "A D", "AD"),
        ({"A": zones("east")}, "A D", "AD"),  # one without a hint: hints are not followed
        ({"A": zones("west"), "D": zones("west")}, "A D", "AD"),  # none for here
        ({"A": zones("east"), "D": zones("west")}, "-A D", "D"),  # only ready ones count
        ({"A": zones("east"), "D": zones("west")}, "~A ~D", "AD"),  # the last resort follows no hint
        ({"A": nodes("one"), "C": nodes("two")}, "A C", "A"),
        ({"A": nodes("three"), "C": nodes("two")}, "A C", "AC"),
        (
            {"A": {**nodes("one"), **zones("east")}, "C": {**nodes("two"), **zones("east")}},
            "A C",
            "A",
        ),  # the node before the zone
        ({"A": {**nodes("two"), **zones("east")}, "D": {**nodes("two"), **zones("west")}}, "A D", "A"),
    ],
)
def test_hints(hints: Any, written: str, cluster: str) -> None:
    assert asked(slice_of(written, hints=hints))[0] == cluster


def test_hints_do_not_narrow_the_local_policy() -> None:
    assert asked(slice_of("A D", hints={"A": zones("west"), "D": zones("east")})) == ("D", "A")


@pytest.mark.parametrize(
    ("ports", "numbers"),
    [
        ([{"name": "http", "port": 8080}], [8080]),
        ([{"name": "http", "port": 8080, "protocol": "UDP"}], []),
        ([{"name": "other", "port": 8080}], []),
        ([{"port": 8080}], []),
        ([{"name": "http"}], []),
        ([{"name": "admin", "port": 1}, {"name": "http", "port": 2}], [2]),
        ([], []),
    ],
)
def test_a_slice_port_belongs_to_the_service_port_of_its_name_and_protocol(ports: Any, numbers: list[int]) -> None:
    service = service_with()
    found = port_endpoints(service, service.spec.ports[0], [slice_of("A", ports=ports)])
    assert [each.port for each in found.cluster] == numbers


def test_one_named_port_may_have_several_numbers() -> None:
    """Pods of different age may give one name to different numbers; then there is a slice for each."""
    service = service_with()
    older = slice_of("A", ports=[{"name": "http", "port": 8080}])
    newer = slice_of("C", name="web-2", ports=[{"name": "http", "port": 9090}])
    assert [str(each) for each in port_endpoints(service, service.spec.ports[0], [older, newer]).cluster] == [
        "10.0.0.65:8080",
        "10.0.0.67:9090",
    ]


def test_families_are_split() -> None:
    service = service_with()
    six = slice_of("", name="web-6", addressType="IPv6", endpoints=[{"addresses": ["fd00::1"]}])
    names = slice_of("", name="web-n", addressType="FQDN", endpoints=[{"addresses": ["example.org"]}])
    slices = [slice_of("A"), six, names]
    port = service.spec.ports[0]
    assert letters(port_endpoints(service, port, slices, family="IPv4").all) == "A"
    assert [str(each) for each in port_endpoints(service, port, slices, family="IPv6").all] == ["[fd00::1]:8080"]
    assert len(port_endpoints(service, port, slices).all) == 2


def test_serving_are_those_that_may_finish_a_flow() -> None:
    service = service_with()
    found = port_endpoints(service, service.spec.ports[0], [slice_of("A ~B !C -D")])
    assert letters(found.serving) == "AB"


@pytest.mark.parametrize(("wanted", "number"), [("http", 80), (80, 80), ("named", None), (81, None), ("", None)])
def test_port_named(wanted: str | int, number: int | None) -> None:
    found = port_named(service_with(), wanted)
    assert (found and found.port) == number
