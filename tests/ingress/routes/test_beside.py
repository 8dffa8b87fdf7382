"""Routes that no rule has, for redirects as ingress-nginx has them."""

import pytest

from tests.ingress.site import annotated
from tests.ingress.state import ingress, service, table_of

HOST = "a.example"


def routes(*found: object) -> dict[tuple[str, bool], list[str]]:
    table = table_of(*found, *service("echo", "10.0.0.1:80"))  # type: ignore[arg-type]
    return {(route.path, route.exact): [name for name, _ in route.filters] for route in table.hosts[HOST].routes}


@pytest.mark.parametrize("kind", ["Exact", "Prefix"])
def test_79_a_path_without_its_slash_is_redirected(kind: str) -> None:
    found = routes(annotated(HOST, {}, ("/x/", kind), ("/", "Prefix")))
    assert found == {("/x/", kind == "Exact"): [], ("/", False): [], ("/x", True): ["slash"]}


@pytest.mark.parametrize("kind", ["Exact", "Prefix"])
def test_79_not_if_somebody_has_it(kind: str) -> None:
    other = ingress("other", {HOST: [("/x", kind, "echo")]})
    assert ("slash" in str(routes(annotated(HOST, {}, ("/x/", "Prefix")), other))) is False


def test_79_not_by_the_specification() -> None:
    assert routes(ingress("one", {HOST: [("/x/", "Prefix", "echo")]})) == {("/x/", False): []}


def test_67_an_application_without_a_rule_for_its_root() -> None:
    found = routes(annotated(HOST, {"app-root": "/app"}, ("/app", "Prefix")))
    assert found == {("/app", False): ["app-root"], ("/", True): ["app-root"]}


def test_67_somebody_elses_root_is_for_everything_below() -> None:
    other = ingress("other", {HOST: [("/", "Prefix", "echo")]})
    found = routes(annotated(HOST, {"app-root": "/app"}, ("/app", "Prefix")), other)
    assert (found["/", True], found["/", False]) == (["app-root"], [])


def test_67_somebody_elses_very_root_stays() -> None:
    other = ingress("other", {HOST: [("/", "Exact", "echo")]})
    assert routes(annotated(HOST, {"app-root": "/app"}, ("/app", "Prefix")), other)["/", True] == []
