"""Objects in, tables and Problems out; and that a change costs only what it concerns."""

from collections.abc import Callable

import pytest

from ingress.routes.classes import STANDALONE
from ingress.routes.compile import RoutingTable
from ingress.routes.explain import find_host, match
from ingress.routes.model import backend_key, split_key
from lb.cluster.objects import Key, Object
from lb.cluster.problems import Problem
from tests.ingress.certificates import tls_secret
from tests.ingress.state import endpoint_slice, ingress, objects, service, store_of, table_of


def problems(table: RoutingTable) -> list[tuple[str, str]]:
    return sorted((problem.object, problem.field) for problem in table.problems)


def reasons(table: RoutingTable) -> str:
    return "\n".join(map(str, table.problems))


def owner(table: RoutingTable, host: str, path: str) -> str | None:
    """The Ingress that serves a path of a host, by the readable look-up."""
    chosen = find_host(table, host)
    route = match(chosen.routes, path)[0] if chosen else None
    return route.ingress if route else None


# --- who gets a path ---------------------------------------------------------------------------------------------


def test_the_oldest_ingress_has_the_path_and_the_other_is_told() -> None:
    rules = {"a.example": [("/", "Prefix", "x"), ("/young", "Prefix", "x")]}
    old = ingress("zzz", {"a.example": [("/", "Prefix", "x")]}, created="2020")
    young = ingress("aaa", rules, created="2021")
    table = table_of(young, old, *service("x"))
    assert owner(table, "a.example", "/") == "shop/zzz"
    assert owner(table, "a.example", "/young") == "shop/aaa"
    assert problems(table) == [("Ingress shop/aaa", "spec.rules[0].http.paths[0]")]
    assert "Ingress shop/zzz" in reasons(table)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"name": "b", "created": "2020"}, {"name": "a"}),  # without a time it is younger than all that have one
        ({"name": "a"}, {"name": "b"}),
        ({"name": "z", "namespace": "a"}, {"name": "a", "namespace": "b"}),
        ({"name": "b", "created": "2020"}, {"name": "a", "created": "2021"}),
    ],
)
def test_age(first: dict[str, str], second: dict[str, str]) -> None:
    rules = {"a.example": [("/", "Prefix", "x")]}
    table = table_of(ingress(**second, rules=rules), ingress(**first, rules=rules))
    assert owner(table, "a.example", "/") == f"{first.get('namespace', 'shop')}/{first['name']}"


def test_prefix_and_exact_of_one_path_do_not_collide_but_implementation_specific_does() -> None:
    one = ingress("one", {"a.example": [("/x", "Prefix", "x"), ("/x", "Exact", "x")]}, created="2020")
    two = ingress("two", {"a.example": [("/x", "ImplementationSpecific", "x"), ("/x/", "Prefix", "x")]}, created="2021")
    table = table_of(one, two, *service("x"))
    assert problems(table) == [("Ingress shop/two", "spec.rules[0].http.paths[0]")]


def test_the_same_path_twice_in_one_ingress() -> None:
    table = table_of(ingress("one", {"a.example": [("/x", "Prefix", "x"), ("/x", "Prefix", "x")]}), *service("x"))
    assert "spec.rules[0].http.paths[0] is used" in reasons(table)


def test_a_rule_goes_when_its_owner_goes() -> None:
    old = ingress("old", {"a.example": [("/", "Prefix", "x")]}, created="2020")
    young = ingress("young", {"a.example": [("/", "Prefix", "x")]}, created="2021")
    table = table_of(old, young, *service("x"))
    table.store.remove(old.key)
    changes = table.update([old.key])
    assert owner(table, "a.example", "/") == "shop/young"
    assert (list(changes.hosts), changes.backends, len(table.problems)) == (["a.example"], {}, 0)


# --- default backends --------------------------------------------------------------------------------------------


def test_a_default_backend_takes_what_no_rule_of_its_hosts_takes() -> None:
    other = ingress("other", {"a.example": [("/o", "Prefix", "x")], "b.example": [("/", "Prefix", "x")]})
    table = table_of(ingress("web", {"a.example": [("/w", "Prefix", "x")]}, default="d"), other, *service("x"))
    assert owner(table, "a.example", "/o") == "shop/other"
    assert owner(table, "a.example", "/else") == "shop/web"
    assert owner(table, "b.example", "/else") == "shop/other"
    assert owner(table, "c.example", "/") is None


def test_an_explicit_root_beats_a_default_backend_of_any_age() -> None:
    old = ingress("old", {"a.example": []}, default="d", created="2020")
    young = ingress("young", {"a.example": [("/", "Prefix", "x")]}, created="2021")
    table = table_of(old, young, *service("x"), *service("d"))
    assert owner(table, "a.example", "/y") == "shop/young"
    assert not problems(table)


def test_two_catch_alls() -> None:
    table = table_of(
        ingress("b", default="d", created="2021"), ingress("a", default="d", created="2020"), *service("d")
    )
    assert owner(table, "any.example", "/") == "shop/a"
    assert problems(table) == [("Ingress shop/b", "spec.defaultBackend")]


def test_a_host_with_nothing_but_its_name_answers_404_and_hides_the_catch_all() -> None:
    table = table_of(ingress("host", {"a.example": []}), ingress("all", default="d"), *service("d"))
    assert owner(table, "a.example", "/") is None
    assert owner(table, "b.example", "/") == "shop/all"


def test_rules_without_host_share_every_host_with_the_catch_all() -> None:
    table = table_of(ingress("some", {"": [("/x", "Prefix", "x")]}), ingress("all", default="x"), *service("x"))
    assert owner(table, "a.example", "/x") == "shop/some"
    assert owner(table, "a.example", "/") == "shop/all"


# --- backends ----------------------------------------------------------------------------------------------------


def test_a_missing_service_is_said_at_every_rule_that_names_it_and_the_path_stays() -> None:
    rules = {"a.example": [("/", "Prefix", "x"), ("/gone", "Prefix", "gone")], "b.example": [("/g", "Prefix", "gone")]}
    table = table_of(ingress("web", rules, default="gone"), *service("x", "10.0.0.1:80"))
    assert problems(table) == [
        ("Ingress shop/web", "spec.defaultBackend.service"),
        ("Ingress shop/web", "spec.rules[0].http.paths[1].backend.service"),
        ("Ingress shop/web", "spec.rules[1].http.paths[0].backend.service"),
    ]
    assert owner(table, "a.example", "/gone") == "shop/web"
    assert table.backends["shop/gone:80"].endpoints == ()
    store = table.store
    for found in service("gone", "10.0.0.2:80"):
        store.put(found)
    changes = table.update([Key("Service", "shop", "gone")])
    assert (list(changes.backends), changes.hosts, problems(table)) == (["shop/gone:80"], {}, [])


def test_a_service_of_another_namespace_is_not_meant() -> None:
    table = table_of(ingress("web", default="x", namespace="a"), *service("x", "10.0.0.1:80", namespace="b"))
    assert "Service a/x does not exist" in reasons(table)


# --- the cost of a change ----------------------------------------------------------------------------------------


Change = Callable[[RoutingTable], Key]


def replace(found: Object) -> Change:
    def change(table: RoutingTable) -> Key:
        table.store.put(found)
        return found.key

    return change


@pytest.mark.parametrize(
    ("change", "hosts", "backends"),
    [
        (replace(endpoint_slice("x", "10.0.0.1:80", "10.0.0.9:80")), [], ["shop/x:80"]),
        (replace(endpoint_slice("x", "10.0.0.1:80 !ready")), [], ["shop/x:80"]),
        (replace(service("x")[0]), [], []),
        (replace(ingress("one", {"one.example": [("/new", "Prefix", "x")]})), ["one.example"], []),
        (replace(ingress("one", {"two.example": [("/new", "Prefix", "x")]})), ["one.example", "two.example"], []),
        (replace(ingress("one", {"one.example": [("/", "Prefix", "y")]})), ["one.example"], ["shop/y:80"]),
        (replace(ingress("new", {"new.example": [("/", "Prefix", "y")]})), ["new.example"], ["shop/y:80"]),
        (replace(ingress("one", {"one.example": [("/", "Prefix", "x")]}, annotations={"a": "b"})), [], []),
    ],
)
def test_a_change_touches_what_it_concerns(change: Change, hosts: list[str], backends: list[str]) -> None:
    table = table_of(
        ingress("one", {"one.example": [("/", "Prefix", "x")]}),
        ingress("two", {"two.example": [("/", "Prefix", "x")]}),
        *service("x", "10.0.0.1:80"),
        *service("y", "10.0.0.2:80"),
    )
    subscription = table.store.subscribe([type(each) for each in (*service("x", "1.1.1.1:1"), ingress("i"))])
    subscription.take()
    change(table)
    changes = table.update(subscription.take())
    assert (sorted(changes.hosts), sorted(changes.backends)) == (hosts, backends)
    assert not table.update(None), "a full pass finds nothing more"


def test_route_numbers_stay_with_their_routes_and_are_not_used_again() -> None:
    table = table_of(ingress("one", {"a.example": [("/a", "Prefix", "x"), ("/b", "Prefix", "x")]}))
    before = {route.path: route.id for route in table.routes()}
    table.store.put(ingress("one", {"a.example": [("/b", "Prefix", "x"), ("/c", "Prefix", "x")]}))
    table.update(None)
    now = {route.path: route.id for route in table.routes()}
    assert now["/c"] not in before.values()
    table.store.put(ingress("two", {"a.example": [("/d", "Prefix", "x")]}, created="2020"))
    table.update(None)
    assert {route.path: route.id for route in table.routes()}["/c"] == now["/c"]


def test_everything_goes() -> None:
    found = ingress("one", {"a.example": [("/a", "Prefix", "x")]}, tls=[{"secretName": "gone"}])
    table = table_of(found)
    table.store.remove(found.key)
    changes = table.update([found.key])
    assert changes.hosts == {"a.example": None}
    assert changes.backends == {"shop/x:80": None}
    assert (table.hosts, table.backends, len(table.problems)) == ({}, {}, 0)
    leftovers = (table._by_host, table._by_tls_host, table._routes_to, table._backends_of, table._users)
    assert not any(leftovers)


# --- classes -----------------------------------------------------------------------------------------------------


CLASS = """
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: other}
spec: {controller: example.com/other}
"""


def test_a_class_comes_and_goes() -> None:
    (other,) = objects(CLASS)
    table = table_of(ingress("web", default="x", ingressClassName="other"), *service("x"))
    assert owner(table, "any", "/") == "shop/web"
    table.store.put(other)
    table.update([other.key])
    assert owner(table, "any", "/") is None
    assert table.refused == {
        ("shop", "web"): 'names the IngressClass "other" of the controller "example.com/other"; served here: '
        "causeway.dev/ingress-controller, k8s.io/ingress-nginx"
    }
    assert not problems(table)
    table.store.remove(other.key)
    table.update([other.key])
    assert owner(table, "any", "/") == "shop/web"


def test_a_class_that_is_not_in_the_folder_is_a_problem() -> None:
    table = table_of(ingress("web", default="x", ingressClassName="othre"), *objects(CLASS))
    assert problems(table) == [("Ingress shop/web", "spec.ingressClassName")]
    assert "there is: other" in reasons(table)


# --- certificates ------------------------------------------------------------------------------------------------


def test_certificates_by_host() -> None:
    rules = {"a.example": [("/", "Prefix", "x")], "b.example": [("/", "Prefix", "x")]}
    tls = [{"hosts": ["a.example"], "secretName": "one"}, {"hosts": ["*.c.example", "b.example"], "secretName": "two"}]
    one, two = tls_secret("one", "a.example"), tls_secret("two", "b.example", "*.c.example")
    table = table_of(ingress("web", rules, tls=tls), one, two, *service("x"))
    assert {host: found.secret for host, found in table.certificates.items()} == {
        "a.example": "shop/one",
        "b.example": "shop/two",
        "*.c.example": "shop/two",
    }
    assert not problems(table)
    table.store.put(tls_secret("two", "b.example", "*.c.example"))
    changes = table.update([two.key])
    assert (sorted(changes.certificates), changes.hosts) == (["*.c.example", "b.example"], {})


def test_a_secret_that_is_missing_or_bad_is_a_problem_until_it_is_there() -> None:
    table = table_of(ingress("web", {"a.example": []}, tls=[{"secretName": "one"}]))
    assert problems(table) == [("Ingress shop/web", "spec.tls[0].secretName")]
    bad, good = tls_secret("one", "a.example", key_of_another=True), tls_secret("one", "a.example")
    table.store.put(bad)
    changes = table.update([bad.key])
    assert [problem.object for problem in changes.new_problems] == ["Ingress shop/web"]
    assert "not the key" in reasons(table)
    assert table.certificates == {}
    table.store.put(good)
    assert list(table.update([good.key]).certificates) == ["a.example"]
    assert not problems(table)
    table.store.remove(good.key)
    assert table.update([good.key]).certificates == {"a.example": None}


def test_the_oldest_usable_certificate_counts() -> None:
    old = ingress("old", {"a.example": []}, tls=[{"secretName": "one"}], created="2020")
    young = ingress("young", {"a.example": []}, tls=[{"secretName": "two"}], created="2021")
    table = table_of(old, young, tls_secret("two", "a.example"))
    assert table.certificates["a.example"].secret == "shop/two"
    one = tls_secret("one", "a.example")
    table.store.put(one)
    table.update([one.key])
    assert table.certificates["a.example"].secret == "shop/one"
    assert problems(table) == [("Ingress shop/young", "spec.tls[0].secretName")]


def test_a_new_problem_is_told_once() -> None:
    table = RoutingTable(store_of(ingress("web", default="gone")), STANDALONE)
    assert [type(each) for each in table.update(None).new_problems] == [Problem]
    assert table.update(None).new_problems == []


@pytest.mark.parametrize("parts", [("shop", "cart", "80"), ("shop", "cart", "http")])
def test_a_key_and_back(parts: tuple[str, str, str]) -> None:
    assert split_key(backend_key(*parts)) == parts
