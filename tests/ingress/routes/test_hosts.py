"""Who has which path of a host: canaries, further names, treated backends, the backend of last resort."""

import json
from typing import Any

import msgspec
import pytest

from ingress.routes.classes import STANDALONE, Selection
from ingress.routes.compile import RoutingTable
from ingress.routes.model import Defaults, Route, split_key
from ingress.routes.selectors import read_selector
from lb.cluster.objects import Ingress, IngressClass, IngressClassSpec, Key, Metadata, Namespace, Object, Service
from tests.ingress.certificates import tls_secret
from tests.ingress.state import ingress, service, store_of, table_of

pytestmark = pytest.mark.usefixtures("wishing")

HOST = "a.example"


def wishing_ingress(name: str, wishes: dict[str, Any], to: str = "x", **how: Any) -> Ingress:
    rules = how.pop("rules", {HOST: [("/", "Prefix", to)]})
    return ingress(name, rules, annotations={"causeway.dev/wishes": json.dumps(wishes)}, **how)


def canary(name: str = "canary", to: str = "new", weight: int = 10, **how: Any) -> Ingress:
    wishes = {"canary": {"weight": weight}, **how.pop("wishes", {})}
    return wishing_ingress(name, wishes, to, **how)


def filters(route: Route) -> dict[str, Any]:
    return {name: msgspec.msgpack.decode(found) for name, found in route.filters}


def only(table: RoutingTable, host: str = HOST) -> Route:
    (route,) = table.hosts[host].routes
    return route


def reasons(table: RoutingTable) -> list[str]:
    return [each.reason for each in table.problems]


MAIN = ingress("main", {HOST: [("/", "Prefix", "x")]}, created="2020")
SERVICES = [*service("x", "10.0.0.1:80"), *service("new", "10.0.0.2:80")]


# --- canaries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("created", ["2019", "2021"], ids=["before its main", "after its main"])
def test_3_a_canary_joins_its_main(created: str) -> None:
    table = table_of(MAIN, canary(created=created), *SERVICES)
    route = only(table)
    assert (route.backend, route.ingress) == ("shop/x:80", "shop/main")
    assert filters(route)["canary"]["backend"] == "shop/new:80"
    assert filters(route)["canary"]["weight"] == 10
    assert table.backends["shop/new:80"].endpoints == (("10.0.0.2", 80),)
    assert reasons(table) == []


@pytest.mark.parametrize(
    "rules",
    [
        {"other.example": [("/", "Prefix", "new")]},
        {HOST: [("/deep", "Prefix", "new")]},
        {HOST: [("/", "Exact", "new")]},
        {"": [("/", "Prefix", "new")]},
    ],
    ids=["host", "path", "pathType", "every host"],
)
def test_26_a_canary_without_a_main_has_no_effect(rules: Any) -> None:
    table = table_of(MAIN, canary(rules=rules), *SERVICES)
    assert list(table.hosts) == [HOST]
    assert filters(only(table)) == {}
    assert "shop/new:80" not in table.backends
    assert "it is a canary, and no other Ingress has" in reasons(table)[0]


def test_25_a_canary_alone_serves_nothing() -> None:
    table = table_of(canary(), *SERVICES)
    assert (table.hosts, table.backends) == ({}, {})


def test_27_a_canary_with_its_mains_backend_is_ignored() -> None:
    table = table_of(MAIN, canary(to="x"), *SERVICES)
    assert filters(only(table)) == {}
    assert "with the very backend of Ingress shop/main" in reasons(table)[0]


def test_27_the_second_canary_of_a_rule_is_ignored() -> None:
    first, second = canary("first", created="2021"), canary("second", "newer", created="2022")
    table = table_of(MAIN, first, second, *SERVICES, *service("newer"))
    assert filters(only(table))["canary"]["backend"] == "shop/new:80"
    assert [(each.object, "has a canary already" in each.reason) for each in table.problems] == [
        ("Ingress shop/second", True)
    ]
    table.store.remove(first.key)
    table.update([first.key])
    assert filters(only(table))["canary"]["backend"] == "shop/newer:80"
    assert list(table.backends) == ["shop/x:80", "shop/newer:80"]


def test_28_of_a_canarys_other_annotations_balancing_counts_and_the_rest_is_its_mains() -> None:
    wishes = {"backend": {"algorithm": "ewma", "read_seconds": 3}, "filters": {}, "options": {"compress": True}}
    main = wishing_ingress("main", {"backend": {"read_seconds": 9, "hash_by": "uri"}, "options": {"compress": False}})
    table = table_of(main, canary(wishes=wishes), *SERVICES)
    route = only(table)
    key = filters(route)["canary"]["backend"]
    variant = table.backends[key].variant
    assert variant is not None
    assert variant.spec == {"algorithm": "ewma", "read_seconds": 9, "hash_by": "uri"}
    assert split_key(key) == ("shop", "new", "80")
    assert dict(route.options) == {"compress": False}


def test_29_editing_a_canary_or_its_main_applies() -> None:
    table = table_of(MAIN, canary(weight=10), *SERVICES)
    again = canary(weight=77)
    table.store.put(again)
    table.update([again.key])
    assert filters(only(table))["canary"]["weight"] == 77
    main = wishing_ingress("main", {"options": {"compress": True}}, created="2020")
    table.store.put(main)
    table.update([main.key])
    assert filters(only(table))["canary"]["weight"] == 77
    assert dict(only(table).options) == {"compress": True}


# --- treated backends --------------------------------------------------------------------------------------------


def test_equal_wishes_share_a_backend_and_others_do_not() -> None:
    def spec(name: str, wishes: dict[str, Any]) -> Ingress:
        return wishing_ingress(name, wishes, rules={f"{name}.example": [("/", "Prefix", "x")]})

    table = table_of(
        spec("one", {"backend": {"algorithm": "ewma", "attempts": 2}}),
        spec("two", {"backend": {"attempts": 2, "algorithm": "ewma"}}),
        spec("three", {"backend": {"attempts": 3}}),
        spec("plain", {}),
        *SERVICES,
    )
    keys = {name: only(table, f"{name}.example").backend for name in ("one", "two", "three", "plain")}
    assert keys["one"] == keys["two"]
    assert len(set(keys.values())) == 3
    assert keys["plain"] == "shop/x:80"
    assert all(split_key(key) == ("shop", "x", "80") for key in keys.values())
    assert all(table.backends[key].key == key for key in keys.values())
    slice_changed = [Key(Service.KIND, "shop", "x")]
    table.store.remove(Key("EndpointSlice", "shop", "x-1"))
    assert set(table.update(slice_changed).backends) == set(keys.values())


def test_200_the_clusters_address_as_the_only_endpoint() -> None:
    services = service("x", "10.0.0.1:8080", ports=[{"port": 80, "targetPort": 8080}], clusterIP="10.96.0.7")
    table = table_of(wishing_ingress("one", {"service_upstream": True}), *services)
    assert table.backends[only(table).backend].endpoints == (("10.96.0.7", 80),)


def test_200_a_headless_service_keeps_its_endpoints() -> None:
    services = service("x", "10.0.0.1:80", clusterIP="None")
    table = table_of(wishing_ingress("one", {"service_upstream": True}), *services)
    assert table.backends[only(table).backend].endpoints == (("10.0.0.1", 80),)


def test_backends_that_filters_name_are_there_and_missed() -> None:
    table = table_of(wishing_ingress("one", {"backends": ["shop/new:80", "shop/none:80"]}), *SERVICES)
    assert set(table.backends) == {"shop/x:80", "shop/new:80", "shop/none:80"}
    assert [(each.field, each.reason) for each in table.problems] == [
        ("metadata.annotations.service", "Service shop/none does not exist; requests get 503")
    ]


# --- further names -----------------------------------------------------------------------------------------------


def test_250_an_alias_has_every_route_of_its_host() -> None:
    other = ingress("other", {HOST: [("/o", "Exact", "new")]})
    table = table_of(wishing_ingress("one", {"aliases": ["b.example"]}), *SERVICES)
    table.store.put(other)
    changes = table.update([other.key])
    assert set(changes.hosts) == {HOST, "b.example"}
    shown = [(each.host, each.path, each.backend) for each in table.hosts["b.example"].routes]
    assert shown == [("b.example", "/", "shop/x:80"), ("b.example", "/o", "shop/new:80")]
    assert len({route.id for route in table.routes()}) == 4


def test_250_an_alias_that_is_a_host_of_another_is_ignored_until_that_is_gone() -> None:
    owner = ingress("owner", {"b.example": [("/", "Prefix", "new")]}, created="2022")
    table = table_of(wishing_ingress("one", {"aliases": ["b.example"]}, created="2020"), owner, *SERVICES)
    assert only(table, "b.example").ingress == "shop/owner"
    assert "is a host of Ingress shop/owner" in reasons(table)[0]
    table.store.remove(owner.key)
    table.update([owner.key])
    assert only(table, "b.example").ingress == "shop/one"
    assert reasons(table) == []
    table.store.put(owner)
    table.update([owner.key])
    assert only(table, "b.example").ingress == "shop/owner"


def test_250_an_alias_goes_with_its_annotation() -> None:
    table = table_of(wishing_ingress("one", {"aliases": ["b.example"]}), *SERVICES)
    plain = wishing_ingress("one", {})
    table.store.put(plain)
    table.update([plain.key])
    assert list(table.hosts) == [HOST]


def test_one_name_for_two_hosts_is_the_older_ones() -> None:
    one = wishing_ingress("one", {"aliases": ["b.example"]}, created="2020")
    two = wishing_ingress(
        "two", {"aliases": ["b.example"]}, rules={"c.example": [("/", "Prefix", "new")]}, created="2021"
    )
    table = table_of(one, two, *SERVICES)
    assert only(table, "b.example").backend == "shop/x:80"
    assert "already stands for a.example of Ingress shop/one" in reasons(table)[0]


@pytest.mark.parametrize(("host", "other"), [("a.example", "www.a.example"), ("www.a.example", "a.example")])
def test_94_www_and_apex(host: str, other: str) -> None:
    table = table_of(wishing_ingress("one", {"www": True}, rules={host: [("/foo", "Prefix", "x")]}), *SERVICES)
    route = only(table, other)
    assert (route.path, route.exact, filters(route)) == ("/", False, {"www": {"host": host, "status": 308}})


def test_further_names_show_the_certificate_of_their_host() -> None:
    secret = tls_secret("tls", HOST, "b.example")
    tls = [{"hosts": [HOST], "secretName": "tls"}]
    table = table_of(wishing_ingress("one", {"aliases": ["b.example"]}, tls=tls), *SERVICES)
    assert table.certificates == {}
    table.store.put(secret)
    assert set(table.update([secret.key]).certificates) == {HOST, "b.example"}
    assert table.certificates["b.example"].chain_pem == table.certificates[HOST].chain_pem
    table.store.remove(secret.key)
    assert table.update([secret.key]).certificates == {HOST: None, "b.example": None}


# --- what holds for a whole host ---------------------------------------------------------------------------------


def test_the_oldest_says_what_clients_must_show() -> None:
    def asking(name: str, created: str, depth: int) -> Ingress:
        wish = {"client_auth": {"ca_pem": "eHg=", "depth": depth, "error_page": "http://e.example/"}}
        return wishing_ingress(name, wish, rules={HOST: [(f"/{name}", "Prefix", "x")]}, created=created)

    table = table_of(asking("young", "2021", 2), asking("old", "2020", 1), *SERVICES)
    assert table.hosts[HOST].client_auth == {
        "ca_pem": b"xx",
        "verify": "on",
        "depth": 1,
        "pass_certificate": False,
        "error_page": "http://e.example/",
    }
    assert [each.object for each in table.problems] == ["Ingress shop/young"]


def judged(wish: dict[str, object]) -> list[tuple[str, list[tuple[str, object]]]]:
    """Paths of a host of which one Ingress asks for certificates, with their filters."""
    asking = wishing_ingress("asking", {"client_auth": wish}, rules={HOST: [("/a", "Prefix", "x")]}, created="2020")
    other = ingress("other", {HOST: [("/b", "Prefix", "x")]}, created="2021")
    routes = table_of(asking, other, *SERVICES).hosts[HOST].routes
    return [
        (each.path, [(name, msgspec.msgpack.decode(specification)) for name, specification in each.filters])
        for each in routes
    ]


def test_whose_certificate_it_is_counts_for_every_path_of_the_host() -> None:
    line = ("certificate", {"match_cn": "CN=shop", "closed": False})
    assert judged({"ca_pem": "eHg=", "match_cn": "CN=shop"}) == [("/a", [line]), ("/b", [line])]
    assert judged({"ca_pem": "eHg="}) == [("/a", []), ("/b", [])]


def test_a_host_without_its_authority_is_closed() -> None:
    line = ("certificate", {"match_cn": "", "closed": True})
    assert judged({"ca_pem": "", "match_cn": "CN=shop"}) == [("/a", [line]), ("/b", [line])]


def test_157_tls_is_handed_to_the_first_paths_backend() -> None:
    table = table_of(wishing_ingress("one", {"passthrough": True}), *SERVICES)
    assert table.hosts[HOST].passthrough == "shop/x:80"


# --- the backend of last resort ----------------------------------------------------------------------------------


def with_default(*found: Object) -> RoutingTable:
    table = RoutingTable(store_of(*found), STANDALONE, defaults=Defaults(backend=("shop", "last")))
    table.update(None)
    return table


def test_238_the_default_backend_takes_what_nobody_takes() -> None:
    table = with_default(
        ingress("one", {HOST: [("/x", "Prefix", "x")], "b.example": [("/", "Prefix", "x")]}),
        *SERVICES,
        *service("last", "10.0.0.9:80", ports=[{"port": 8000}]),
    )
    shown = {host: [(each.path, each.backend) for each in found.routes] for host, found in table.hosts.items()}
    assert shown == {
        HOST: [("/x", "shop/x:80"), ("/", "shop/last:8000")],
        "b.example": [("/", "shop/x:80")],
        "": [("/", "shop/last:8000")],
    }


def test_238_the_default_backend_may_come_later_and_go() -> None:
    table = with_default(*SERVICES)
    assert table.hosts == {}
    (last,) = service("last")
    table.store.put(last)
    table.update([last.key])
    assert only(table, "").backend == "shop/last:80"
    table.store.remove(last.key)
    table.update([last.key])
    assert (table.hosts, table.backends) == ({}, {})


def test_86_filters_for_tls_are_for_hosts_that_have_it_whoever_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = wishing_ingress(
        "one", {"tls_filters": {}}, rules={HOST: [("/", "Prefix", "x")], "b.example": [("/", "Prefix", "x")]}
    )
    secured = ingress("two", {HOST: [("/x", "Exact", "x")]}, tls=[{"hosts": [HOST]}])
    line = ("https", b"\x80")
    original = RoutingTable.treatment
    monkeypatch.setattr(
        RoutingTable,
        "treatment",
        lambda self, found: msgspec.structs.replace(original(self, found), tls_filters=(line,)),
    )
    table = table_of(plain, secured, *SERVICES)
    assert {host: {each.filters for each in found.routes} for host, found in table.hosts.items()} == {
        HOST: {(line,)},
        "b.example": {()},
    }


# --- what flags say ----------------------------------------------------------------------------------------------


def with_defaults(*found: Object, selection: Selection = STANDALONE, **defaults: Any) -> RoutingTable:
    table = RoutingTable(store_of(*found), selection, defaults=Defaults(**defaults))
    table.update(None)
    return table


def test_148_the_default_certificate_is_a_secrets_while_that_is_there() -> None:
    secret = tls_secret("fallback", "*.example")
    table = with_defaults(ingress("one", default="x"), *SERVICES, certificate=("shop", "fallback"))
    assert table.certificates == {}
    assert "it is no default certificate: it does not exist" in reasons(table)[0]
    table.store.put(secret)
    assert list(table.update([secret.key]).certificates) == [""]
    assert table.certificates[""].secret == "shop/fallback"
    assert reasons(table) == []
    table.store.remove(secret.key)
    assert table.update([secret.key]).certificates == {"": None}


def test_passthrough_needs_its_flag() -> None:
    table = with_defaults(wishing_ingress("one", {"passthrough": True}), *SERVICES, passthrough=False)
    assert table.hosts[HOST].passthrough == ""
    assert "without --enable-ssl-passthrough" in reasons(table)[0]


def test_206_services_that_are_names_are_refused_by_flag() -> None:
    outside = service("x", type="ExternalName", externalName="db.example.com")
    table = with_defaults(MAIN, *outside, external_names=False)
    assert "stands for a DNS name" in table.backends["shop/x:80"].wrong
    assert table.external_names() == set()


def test_another_prefix_of_annotations() -> None:
    found = ingress("one", {HOST: [("/", "Prefix", "x")]}, annotations={"ops.example/wishes": '{"closed": "why"}'})
    table = with_defaults(found, *SERVICES, prefix="ops.example/")
    assert filters(only(table)) == {"closed": {"reason": "why"}}


def test_248_namespaces_by_their_labels_which_may_come_later() -> None:
    selection = Selection(classless=True, namespace_labels=read_selector("team=shop"))
    table = with_defaults(MAIN, *SERVICES, selection=selection)
    assert table.hosts == {}
    namespace = Namespace(metadata=Metadata(name="shop", labels={"team": "shop"}))
    table.store.put(namespace)
    assert list(table.update([namespace.key]).hosts) == [HOST]
    table.store.remove(namespace.key)
    assert table.update([namespace.key]).hosts == {HOST: None}


def test_namespaces_by_name() -> None:
    selection = Selection(classless=True, namespaces=("shop",))
    elsewhere = ingress("other", {"b.example": [("/", "Prefix", "x")]}, namespace="cart")
    assert list(with_defaults(MAIN, elsewhere, *SERVICES, selection=selection).hosts) == [HOST]


def test_249_no_ingress_for_every_host() -> None:
    rules: Any = {"": [("/", "Prefix", "x")], "b.example": [("/", "Prefix", "x")]}
    found = (MAIN, ingress("default", default="x"), ingress("mixed", rules))
    table = with_defaults(*found, *SERVICES, selection=Selection(classless=True, catch_all=False))
    assert list(table.hosts) == [HOST]


def test_247_classes_by_name() -> None:
    found = ingress("one", {HOST: [("/", "Prefix", "x")]}, ingressClassName="mine")
    theirs = IngressClass(metadata=Metadata(name="mine"), spec=IngressClassSpec(controller="example.com/other"))
    for by_name in (False, True):
        selection = Selection(annotation_classes=("mine",), by_name=by_name)
        assert list(with_defaults(found, theirs, *SERVICES, selection=selection).hosts) == [HOST] * by_name
