"""Why a request goes where it goes; and that the readable look-up says the same as the compiled one."""

import asyncio
import itertools

import pytest

from ingress.proxy import Engine, RouteSpec, Settings
from ingress.proxy.engine import normalise_path
from ingress.routes.compile import RoutingTable
from ingress.routes.explain import Explanation, explain, find_host, host_name, match, normal_path
from tests.ingress.certificates import tls_secret
from tests.ingress.state import ingress, objects, service, table_of

NGINX = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
"""

RULES: dict[str, list[tuple[str, str | None, str]]] = {
    "a.example": [("/", "Exact", "x"), ("/", "Prefix", "y"), ("/foo", "Prefix", "x"), ("/foo/bar", "Exact", "y")],
    "*.example": [("/foo", "Prefix", "x"), ("/foo/", "Prefix", "y"), ("/foo/bar/", "Prefix", "x")],
    "": [("/a/b/c", "Prefix", "x"), ("/a", "Prefix", "y"), ("/a/b", "Exact", "x"), ("/a/", "Exact", "y")],
    "b.example": [],
}


@pytest.fixture
def table() -> RoutingTable:
    return table_of(
        ingress("web", RULES, tls=[{"hosts": ["a.example"], "secretName": "cert"}]),
        ingress("default", {"c.example": [("/only", "Prefix", "gone")]}, default="y"),
        ingress("foreign", {"f.example": [("/", "Prefix", "x")]}, annotations={"kubernetes.io/ingress.class": "other"}),
        tls_secret("cert", "a.example"),
        *service("x", "10.0.0.1:80", "10.0.0.2:80 !ready"),
        *service("y"),
        *objects(NGINX),
    )


def said(found: Explanation) -> str:
    return "\n".join(f"{step.about}: {step.said}" for step in found.steps)


def test_a_whole_path(table: RoutingTable) -> None:
    found = explain(table, "https", "a.example:8443", "/foo/x?y=1")
    assert found.complete
    assert said(found).splitlines() == [
        "certificate: Secret shop/cert",
        "host: a.example: Ingress shop/web",
        'path: /foo/x: Prefix "/foo" of Ingress shop/web (spec.rules[0].http.paths[2]); before Prefix "/"',
        "backend: Service shop/x port 80: 1 of 2 endpoints ready",
        "endpoints: one of 10.0.0.1:80",
    ]


@pytest.mark.parametrize(
    ("host", "path", "status", "words"),
    [
        ("b.example", "/", 404, ["no rule of b.example matches /; its paths: none"]),
        ("x.b.example", "/", 404, ["rules for every host apply"]),
        ("c.example", "/only", 503, ["Service shop/gone does not exist", "create it"]),
        (
            "c.example",
            "/else",
            503,
            ["the default backend of Ingress shop/default", "kubectl -n shop get"],
        ),
        ("f.example", "/", 404, ["Ingress shop/foreign would serve it, but", "kubernetes.io/ingress.class"]),
        ("x.example", "/../etc", 400, ["climbs above /"]),
        ("x.example", "/foo", 503, ["x.example is covered by *.example", 'before Prefix "/foo"']),
    ],
)
def test_refusals(table: RoutingTable, host: str, path: str, status: int, words: list[str]) -> None:
    found = explain(table, "http", host, path)
    assert found.status == status
    for each in words:
        assert each in said(found)


def test_no_host_at_all() -> None:
    empty = table_of(ingress("web", {"a.example": []}))
    found = explain(empty, "https", "b.example", "/")
    assert (found.status, found.route) == (404, None)
    assert "no Ingress serves b.example; served are: a.example" in said(found)
    assert "default certificate" in said(found)


@pytest.mark.parametrize(
    ("field", "name"),
    [("A.example:80", "a.example"), ("a.example.", "a.example"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("", "")],
)
def test_host_name(field: str, name: str) -> None:
    assert host_name(field) == name


SEGMENTS = ["", "a", "foo", "bar", ".", "..", "%61", "%2f", "%2e%2e", "b", "%C3%A9", "%zz", "%00", "...", "a%"]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_paths_are_made_normal_as_the_engine_does_it(length: int) -> None:
    for parts in itertools.product(SEGMENTS, repeat=length):
        path = "/" + "/".join(parts)
        ours = normal_path(path)
        theirs = normalise_path(path.encode())
        assert ours == (None if theirs is None else theirs.decode(errors="surrogateescape")), path


async def test_the_engine_finds_the_same_route(table: RoutingTable) -> None:
    engine = Engine(Settings(), asyncio.get_running_loop())
    try:
        for host, found in table.hosts.items():
            engine.set_host(host, [RouteSpec(each.path, each.exact, each.backend, each.id) for each in found.routes])
        hosts = [
            "a.example",
            "b.example",
            "x.example",
            "y.x.example",
            "c.example",
            "else",
            "A.EXAMPLE:80",
            "a.example.",
        ]
        parts = ["", "a", "b", "c", "foo", "bar", "foobar"]
        for host in hosts:
            for path in ("/" + "/".join(each) for n in (1, 2, 3, 4) for each in itertools.product(parts, repeat=n)):
                wanted = normal_path(path)
                chosen = find_host(table, host_name(host))
                route = match(chosen.routes, wanted)[0] if chosen and wanted else None
                assert engine.match(host, path) == (route.id if route else None), f"{host} {path}"
    finally:
        engine.close()


def test_what_a_route_does_besides_is_explained_and_so_is_an_alias() -> None:
    annotations = {
        "nginx.ingress.kubernetes.io/enable-cors": "true",
        "nginx.ingress.kubernetes.io/server-alias": "b.example",
    }
    found = ingress("web", {"a.example": [("/", "Prefix", "x")]}, annotations=annotations)
    told = said(explain(table_of(found, *service("x", "10.0.0.1:80")), "http", "b.example", "/"))
    assert "host: b.example: Ingress shop/web" in told
    assert "filters: then " in told
    assert "cors" in told
