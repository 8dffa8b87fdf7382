"""Pods in a folder answer for Services that have no slices."""

from typing import Any

import pytest

from ingress.routes.backends import Around, compile_backend
from ingress.routes.compile import RoutingTable
from ingress.routes.model import NameAnswer
from lb.cluster.objects import Key, Pod, decode
from tests.ingress.state import endpoint_slice, ingress, service, store_of, table_of


def pod(name: str, ip: str, *, namespace: str = "shop", app: str = "web", **more: Any) -> Pod:
    status: dict[str, Any] = {"phase": "Running", "podIP": ip, **more.pop("status", {})}
    made = decode(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": app, "x": "y"}, **more},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": status,
        }
    )
    assert isinstance(made, Pod)
    return made


WEB = service("web", selector={"app": "web"}, ports=[{"port": 80, "targetPort": "http"}])
PODS = Around(pods=True)


@pytest.mark.parametrize(
    ("pods", "want"),
    [
        ([pod("a", "10.0.0.1"), pod("b", "10.0.0.2")], ["10.0.0.1", "10.0.0.2"]),
        ([pod("a", "10.0.0.1", app="api"), pod("b", "10.0.0.2", namespace="other"), pod("c", "")], []),
        ([pod("a", "10.0.0.1", status={"conditions": [{"type": "Ready", "status": "False"}]})], []),
        ([pod("a", "10.0.0.1", status={"conditions": [{"type": "Ready", "status": "True"}]})], ["10.0.0.1"]),
        ([pod("a", "10.0.0.1", status={"phase": "Failed"})], []),
        ([pod("a", "10.0.0.1", deletionTimestamp="2026-01-01T00:00:00Z"), pod("b", "10.0.0.2")], ["10.0.0.2"]),
        ([pod("a", "10.0.0.1", deletionTimestamp="2026-01-01T00:00:00Z")], ["10.0.0.1"]),
    ],
)
def test_which_pods_answer(pods: list[Pod], want: list[str]) -> None:
    found = compile_backend(store_of(*WEB, *pods), "shop", "web", "80", around=PODS)
    assert [ip for ip, port in found.endpoints] == want
    assert {port for _, port in found.endpoints} <= {8080}


def test_slices_are_believed_and_pods_of_a_cluster_are_not_asked() -> None:
    store = store_of(*WEB, pod("a", "10.0.0.1"), endpoint_slice("web", "10.0.0.9:80"))
    assert compile_backend(store, "shop", "web", "80", around=PODS).endpoints == (("10.0.0.9", 80),)
    assert compile_backend(store_of(*WEB, pod("a", "10.0.0.1")), "shop", "web", "80").total == 0


def test_a_pod_that_comes_or_goes_changes_the_backend() -> None:
    table = table_of(*WEB, ingress("web", {"a.example": [("/", "Prefix", "web")]}))
    assert table.backends["shop/web:80"].total == 0
    table.store.put(pod("a", "10.0.0.1"))
    key = Key("Pod", "shop", "a")
    assert list(table.update([key]).backends) == ["shop/web:80"]
    assert table.backends["shop/web:80"].endpoints == (("10.0.0.1", 8080),)
    table.store.remove(key)
    table.update([key])
    assert table.backends["shop/web:80"].total == 0
    assert not table.update([Key("Pod", "other", "a")])


@pytest.mark.parametrize(
    ("name", "port", "spec", "want"),
    [
        ("db.example", "80", {}, [("192.0.2.1", 80)]),
        ("DB.example.", "80", {}, [("192.0.2.1", 80)]),
        ("db.example", "8080", {}, [("192.0.2.1", 8080)]),
        ("db.example", "80", {"ports": [{"port": 80, "targetPort": 8081}]}, [("192.0.2.1", 8081)]),
        ("db.example", "http", {"ports": [{"port": 8082, "name": "http"}]}, [("192.0.2.1", 8082)]),
        ("db.example", "http", {}, "has no port http"),
        ("unknown.example", "80", {}, []),
        ("gone.example", "80", {}, "gone.example: it cannot be looked up"),
        ("localhost", "80", {}, "this machine is not reached by name"),
        ("a.localhost", "80", {}, "this machine is not reached by name"),
        ("127.0.0.1", "80", {}, "an address, not a name"),
        ("no name", "80", {}, "not a DNS name"),
    ],
)
def test_external_names(name: str, port: str, spec: dict[str, Any], want: Any) -> None:
    names = {"db.example": NameAnswer(("192.0.2.1",)), "gone.example": NameAnswer(error="it cannot be looked up")}
    store = store_of(*service("db", type="ExternalName", externalName=name, **spec))
    found = compile_backend(store, "shop", "db", port, around=Around(names))
    if isinstance(want, str):
        assert want in found.wrong
        assert not found.endpoints
    else:
        assert (list(found.endpoints), found.wrong) == (want, "")


def test_the_table_says_which_names_it_needs() -> None:
    rules: dict[str, list[tuple[str, str | None, str]]] = {"a.example": [("/", "Prefix", "db")]}
    names: dict[str, NameAnswer] = {}
    found = [ingress("web", rules), *service("db", type="ExternalName", externalName="db.example")]
    table = RoutingTable(store_of(*found), table_of().selection, names=names)
    table.update(None)
    assert table.external_names() == {"db.example"}
    assert table.backends["shop/db:80"].state == "db.example is looked up"
    names["db.example"] = NameAnswer(("192.0.2.1",))
    table.update(table.services_named("db.example"))
    assert table.backends["shop/db:80"].state == "1 addresses of db.example"
