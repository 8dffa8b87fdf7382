"""Annotations of an Ingress -> filters and options of its routes, and what they refer to."""

from typing import Any

import msgspec
import pytest

from ingress.filters.closed import ClosedSpecification
from ingress.routes.annotations import Reader, Risk, Wishes
from ingress.routes.compile import RoutingTable
from lb.cluster.objects import ConfigMap, Ingress, Metadata
from tests.ingress.routes.conftest import only_group
from tests.ingress.state import ingress, service, table_of

PREFIX = "nginx.ingress.kubernetes.io/"


def read(reader: Reader, wishes: Wishes) -> None:
    """A group with one annotation of each sort."""
    wishes.closed = reader.text("close")
    wishes.refused = reader.text("refuse")
    if reader.flag("squeeze"):
        wishes.options["compress"] = True
    if name := reader.text("words"):
        found = reader.config_map("words", name)
        wishes.closed = wishes.closed or (found.data or {})["say"] if found else "no ConfigMap"
    if reader.compat and reader.ingress.spec.tls:
        wishes.options["response_buffering"] = True


@pytest.fixture(autouse=True)
def group(monkeypatch: pytest.MonkeyPatch) -> None:
    only_group(monkeypatch, dict.fromkeys(("close", "refuse", "squeeze", "words"), Risk.LOW), read)


def annotated(name: str = "one", **values: str) -> Ingress:
    named = {PREFIX + key: value for key, value in values.items()}
    return ingress(name, {"a.example": [("/", "Prefix", "x")]}, annotations=named)


def treatment(table: RoutingTable) -> tuple[object, object]:
    route = table.hosts["a.example"].routes[0]
    return [(name, msgspec.msgpack.decode(each)) for name, each in route.filters], dict(route.options)


def test_routes_have_filters_and_options_of_their_ingress() -> None:
    table = table_of(annotated(close="why", squeeze="true"), *service("x"))
    assert treatment(table) == ([("closed", {"reason": "why"})], {"compress": True})
    assert msgspec.msgpack.decode(table.hosts["a.example"].routes[0].filters[0][1], type=ClosedSpecification)


def test_without_annotations_there_is_nothing() -> None:
    table = table_of(ingress("one", {"a.example": [("/", "Prefix", "x")]}), *service("x"))
    assert treatment(table) == ([], {})


@pytest.mark.parametrize(
    ("spec", "follows"),
    [
        ({"annotations": {PREFIX + "squeeze": "false"}}, True),
        ({"ingressClassName": "nginx"}, True),
        ({"annotations": {"kubernetes.io/ingress.class": "nginx"}}, True),
        ({"annotations": {"kubernetes.io/ingress.class": "causeway"}}, False),
        ({}, False),
        ({"annotations": {PREFIX + "squeeze": "false", "causeway.dev/strict": "true"}}, False),
    ],
)
def test_who_follows_ingress_nginx(spec: dict[str, Any], follows: bool) -> None:
    found = ingress("one", {"a.example": [("/", "Prefix", "x")]}, tls=[{"hosts": ["a.example"]}], **spec)
    assert treatment(table_of(found, *service("x"))) == ([], {"response_buffering": True} if follows else {})


def test_an_annotation_nobody_knows_is_told() -> None:
    table = table_of(annotated(clsoe="x"), *service("x"))
    assert [each.field for each in table.problems] == [f"metadata.annotations[{PREFIX}clsoe]"]


def test_a_refused_ingress_is_left_out() -> None:
    table = table_of(annotated(refuse="it must not be"), *service("x"))
    assert table.hosts == {}
    assert table.refused == {("shop", "one"): "it must not be"}


def test_what_annotations_refer_to_is_followed() -> None:
    table = table_of(annotated(words="said"), *service("x"))
    assert treatment(table) == ([("closed", {"reason": "no ConfigMap"})], {})
    for text in ("one thing", "another"):
        said = ConfigMap(metadata=Metadata(name="said", namespace="shop"), data={"say": text})
        table.store.put(said)
        assert list(table.update([said.key]).hosts) == ["a.example"]
        assert treatment(table) == ([("closed", {"reason": text})], {})
    table.store.remove(said.key)
    table.update([said.key])
    assert treatment(table)[0] == [("closed", {"reason": "no ConfigMap"})]
    assert len(table.problems) == 1
    table.store.remove(ingress("one").key)
    table.update([ingress("one").key])
    assert table._referrers == {}
