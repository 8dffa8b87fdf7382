import json

import pytest

from lb.cluster.objects import EndpointSlice, Ingress, Key, Metadata, Secret, Service
from lb.cluster.wire import Bad, BadWire, Bookmark, Changed, Deleted, Lines, Refused, read_event, read_page, read_some

SERVICE = {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7", "managedFields": [{"x": 1}]}}


def line(kind: str, content: object) -> bytes:
    return json.dumps({"type": kind, "object": content}).encode()


def test_a_page() -> None:
    body = {"kind": "ServiceList", "metadata": {"resourceVersion": "9", "continue": "next"}, "items": [SERVICE]}
    page = read_page(Service, json.dumps(body).encode())
    assert [each.key for each in page.objects] == [Key("Service", "shop", "web")]
    assert (page.version, page.more) == ("9", "next")
    empty = read_page(Service, b'{"metadata": {"resourceVersion": "9"}, "items": null}')
    assert (empty.objects, empty.more) == ([], "")


def test_events() -> None:
    added = read_event(Service, line("ADDED", SERVICE))
    assert isinstance(added, Changed)
    assert isinstance(added.found, Service)
    assert added.version == "7"
    assert read_event(Service, line("DELETED", SERVICE)) == Deleted(Key("Service", "shop", "web"), "7")
    assert read_event(Service, line("BOOKMARK", {"metadata": {"resourceVersion": "8"}})) == Bookmark("8")
    assert read_event(Service, line("ERROR", {"kind": "Status", "code": 410, "message": "old"})) == Refused(410, "old")


def test_names_alone() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "what is in it"}
    metadata = {"name": "a", "namespace": "shop", "resourceVersion": "7", "annotations": annotations}
    named = Secret(metadata=Metadata(name="a", namespace="shop", resource_version="7"))
    partial = {"kind": "PartialObjectMetadata", "metadata": metadata}
    for each in (partial, {"metadata": metadata, "data": {"a": "Yg=="}}):  # who knows nothing of it sends the whole
        body = {"metadata": {"resourceVersion": "9"}, "items": [each]}
        assert read_page(Secret, json.dumps(body).encode(), names_only=True).objects == [named]
        assert read_event(Secret, line("MODIFIED", each), names_only=True) == Changed(named, "7")
    assert read_event(Secret, line("DELETED", partial), names_only=True) == Deleted(Key("Secret", "shop", "a"), "7")


def test_some_of_a_page() -> None:
    items = [{**SERVICE, "metadata": {**SERVICE["metadata"], "name": name}} for name in ("web", "cart", "api")]
    items.append({"metadata": {"name": "bad", "namespace": "shop"}, "spec": 7})
    body = {"metadata": {"resourceVersion": "9", "continue": "next"}, "items": items}
    wanted = {Key("Service", "shop", name) for name in ("cart", "bad", "missing")}
    page = read_some(Service, json.dumps(body).encode(), wanted)
    assert [type(each) for each in page.objects] == [Service, Bad]
    assert {each.key.name for each in page.objects} == {"cart", "bad"}
    assert page.more == "next"
    with pytest.raises(BadWire, match="not a list of Service"):
        read_some(Service, b"<html>", wanted)


def test_null_means_absent() -> None:
    metadata = {"name": "a", "namespace": "b"}
    found = read_event(EndpointSlice, line("ADDED", {"metadata": metadata, "endpoints": None, "ports": None}))
    assert isinstance(found, Changed)
    assert isinstance(found.found, EndpointSlice)
    content = {"metadata": metadata, "spec": {"rules": [{"host": "a", "http": {"paths": None}}], "tls": None}}
    found = read_event(Ingress, line("ADDED", content))
    assert isinstance(found, Changed)
    assert isinstance(found.found, Ingress)


def test_an_object_of_the_wrong_shape_is_named() -> None:
    found = read_event(Service, line("ADDED", {**SERVICE, "spec": {"ports": [{"port": "x"}]}}))
    assert isinstance(found, Changed)
    assert isinstance(found.found, Bad)
    assert found.found.key == Key("Service", "shop", "web")
    assert (found.found.why.field, found.found.why.reason) == ("spec.ports[0].port", "must be a whole number, not text")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"metadata": 1}'])
def test_what_no_api_server_says(body: bytes) -> None:
    with pytest.raises(BadWire, match="not a list of Service"):
        read_page(Service, body)


@pytest.mark.parametrize("text", [b"x", b"{}", b'{"type": "ADDED", "object": 3}', b'{"type": "NEW", "object": {}}'])
def test_what_no_watch_says(text: bytes) -> None:
    with pytest.raises(BadWire):
        read_event(Service, text)


def test_lines_are_the_same_wherever_they_are_cut() -> None:
    text = b"one\ntwo\r\n\n three \nfour\n"
    expected = [b"one", b"two\r", b" three ", b"four"]
    assert list(Lines().feed(text)) == expected
    for size in range(1, len(text)):
        lines = Lines()
        assert [each for at in range(0, len(text), size) for each in lines.feed(text[at : at + size])] == expected
    for cut in range(len(text)):
        lines = Lines()
        assert [*lines.feed(text[:cut]), *lines.feed(text[cut:])] == expected
    assert list(Lines().feed(b"not yet")) == []
