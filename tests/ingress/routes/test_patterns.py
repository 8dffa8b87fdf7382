"""Hosts whose paths are patterns: which there are, in which order, and what they match."""

import json
from typing import Any

import pytest

from ingress.routes.compile import RoutingTable
from ingress.routes.explain import explain, match_patterns
from lb.cluster.objects import Ingress
from tests.ingress.state import ingress, service, table_of

pytestmark = pytest.mark.usefixtures("wishing")

HOST = "a.example"


def patterned(name: str, *paths: Any, **how: Any) -> Ingress:
    wishes = {"pattern": True, **how.pop("wishes", {})}
    return ingress(
        name, {HOST: [_path(each) for each in paths]}, annotations={"causeway.dev/wishes": json.dumps(wishes)}, **how
    )


def plain(name: str, *paths: Any, **how: Any) -> Ingress:
    return ingress(name, {HOST: [_path(each) for each in paths]}, **how)


def _path(each: Any) -> tuple[str, str, str]:
    return each if isinstance(each, tuple) else (each, "ImplementationSpecific", "x")


def made(*found: Ingress) -> RoutingTable:
    return table_of(*found, *service("x", "10.0.0.1:80"), *service("y"), *service("z"))


def texts(table: RoutingTable) -> list[str]:
    return [text for text, _ in table.hosts[HOST].patterns]


def who(table: RoutingTable, path: str) -> str:
    route, _ = match_patterns(table.hosts[HOST], path)
    return f"{route.ingress.removeprefix('shop/')} {route.path}" if route else ""


def test_hosts_without_patterns_have_plain_paths() -> None:
    assert made(plain("one", "/a.b")).hosts[HOST].patterns == ()
    assert made(patterned("one", "/a.b", wishes={"strict": True})).hosts[HOST].patterns in ((), (("/a.b", 0),))


def test_63_one_ingress_with_patterns_makes_patterns_of_all_the_longest_first() -> None:
    table = made(plain("plain", "/foo", "/", created="2020"), patterned("new", "/foo.+", "/fop", created="2021"))
    assert texts(table) == ["/foo.+", "/fop", "/foo", "/"]
    assert who(table, "/FOO/bar") == "new /foo.+"
    assert who(table, "/x/foo") == "plain /"


def test_61_a_plain_path_beside_a_longer_pattern() -> None:
    table = made(plain("plain", ("/foo", "Exact", "y")), patterned("new", "/foo.+"))
    assert (who(table, "/foo"), who(table, "/foo/bar")) == ("plain /foo", "new /foo.+")


def test_62_a_longer_text_comes_first_even_if_it_matches_less() -> None:
    table = made(plain("plain", ("/foo/bar/bar", "Exact", "y")), patterned("new", "/foo/bar/[a-z]{3}"))
    assert who(table, "/foo/bar/bar") == "new /foo/bar/[a-z]{3}"


def test_60_a_longer_plain_path_is_not_disturbed() -> None:
    table = made(patterned("new", "/"), plain("acme", ("/.well-known/acme/challenge", "Prefix", "y")))
    assert who(table, "/.well-known/acme/challenge/x") == "acme /.well-known/acme/challenge"
    assert who(table, "/.well-known/acme") == "new /"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("/id/[0-9]+", ["/id/1", "/id/12", "/id/123a", "/ID/7"], ["/id/aaa", "/x/id/1"]),
        ("/id/[0-9]+$", ["/id/123"], ["/id/123a"]),
        ("/id/[0-9]{3}$", ["/id/123"], ["/id/99", "/id/9999", "/id/123a"]),
        ("/id/[0-9]+/post/[a-zA-Z]+$", ["/id/123/post/abc"], ["/id/123/post/abc123", "/id/abc/post/abc"]),
        ("/something(/|$)(.*)", ["/something", "/something/", "/something/new"], ["/somethingelse"]),
        ("/a?b", ["/b", "/ab"], ["/aab"]),
    ],
)
def test_73_patterns_match_at_the_start(pattern: str, yes: list[str], no: list[str]) -> None:
    table = made(patterned("new", pattern))
    assert [who(table, path) for path in yes] == [f"new {pattern}"] * len(yes)
    assert [who(table, path) for path in no] == [""] * len(no)


def test_a_pattern_that_re2_does_not_take_is_left_out_and_told() -> None:
    table = made(patterned("new", "/good.*", "/a(?=b)"))
    assert texts(table) == ["/good.*"]
    assert [(each.field, "is not a pattern of RE2" in each.reason) for each in table.problems] == [
        ("spec.rules[0].http.paths[1].path", True)
    ]


def test_a_plain_path_that_is_no_pattern_is_taken_literally() -> None:
    table = made(patterned("new", "/p.*"), plain("plain", "/q(x"))
    assert who(table, "/q(x/y") == "plain /q(x"


def test_69_a_prefix_beside_its_exact_twin_is_for_what_lies_below() -> None:
    table = made(patterned("new", "/zzzzzzzz.*"), plain("e", ("/x", "Exact", "y"), ("/x", "Prefix", "z")))
    assert [who(table, path) for path in ("/x", "/x/suffix")] == ["e /x", "e /x"]
    exact, prefix = (match_patterns(table.hosts[HOST], path)[0] for path in ("/x", "/x/suffix"))
    assert exact is not None
    assert prefix is not None
    assert (exact.exact, prefix.exact) == (True, False)


def test_what_a_request_hits_is_explained() -> None:
    found = explain(made(patterned("new", "/id/[0-9]+", "/id.*")), "http", HOST, "/id/7")
    assert found.route is not None
    assert found.route.path == "/id/[0-9]+"
    assert any('"/id/[0-9]+" of Ingress shop/new' in step.said for step in found.steps)
