"""Paths that are meant for the text of a configuration; paths that are no plain text."""

import pytest

from ingress.routes.dangers import danger, is_literal
from tests.ingress.state import ingress, service, table_of


@pytest.mark.parametrize(
    "path",
    [
        "/foo/(;\nalias /etc/;",
        "/x;root /;",
        "/a {}\nalias\t/x ;",
        "/etc/passwd",
        "/a/etc/nginx/x",
        "/var/run/secrets/x",
        "/x_by_lua_block",
    ],
)
def test_81_dangerous_text_leaves_out_the_whole_ingress(path: str) -> None:
    bad = ingress("bad", {"a.example": [("/good", "Prefix", "x"), (path, "ImplementationSpecific", "x")]})
    good = ingress("good", {"a.example": [("/other", "Prefix", "x")]})
    table = table_of(bad, good, *service("x", "10.0.0.1:80"))
    assert [route.path for route in table.hosts["a.example"].routes] == ["/other"]
    problem = next(each for each in table.problems if each.field == "spec.rules[0].http.paths[1].path")
    assert "not served" in problem.reason
    assert table.refused["shop", "bad"]


@pytest.mark.parametrize("path", ["/", "/root", "/alias/x", "/etc", "/rooted;x", "/x/root/y;z", "/by_lua", "/et/nginx"])
def test_81_other_text_is_nobodys_business(path: str) -> None:
    assert danger(ingress("one", {"a.example": [(path, "Prefix", "x")]})) == ("", "")


@pytest.mark.parametrize(("path", "literal"), [("/", True), ("/a-B_1.x/", True), ("/a(b", False), ("/a~", False)])
def test_82_literal_paths(path: str, literal: bool) -> None:
    assert is_literal(path) is literal


@pytest.mark.parametrize(
    ("kind", "path", "annotations", "reported"),
    [
        ("Prefix", "/a[0-9]", {"nginx.ingress.kubernetes.io/enable-cors": "true"}, True),
        ("Exact", "/a|b", {"nginx.ingress.kubernetes.io/enable-cors": "true"}, True),
        ("ImplementationSpecific", "/a[0-9]", {"nginx.ingress.kubernetes.io/enable-cors": "true"}, False),
        ("Prefix", "/a/b", {"nginx.ingress.kubernetes.io/enable-cors": "true"}, False),
        ("Prefix", "/a[0-9]", {"causeway.dev/enable-cors": "true"}, False),
    ],
)
def test_82_what_is_no_plain_text_is_reported_and_served(
    kind: str, path: str, annotations: dict[str, str], reported: bool
) -> None:
    found = ingress("one", {"a.example": [(path, kind, "x")]}, annotations=annotations)
    table = table_of(found, *service("x", "10.0.0.1:80"))
    assert [route.path for route in table.hosts["a.example"].routes] == [path]
    assert [each.field for each in table.problems] == ["spec.rules[0].http.paths[0].path"] * reported
