"""`--to` and `--route`, and the objects they become."""

import pytest

from ingress.listeners import BadAddress
from ingress.routes.explain import explain
from ingress.routes.flags import FlagRoute, objects_of
from ingress.targets import read_endpoints, read_route
from tests.ingress.state import table_of


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("10.0.0.1:80", (("10.0.0.1", 80),)),
        ("10.0.0.1:80, 10.0.0.2:81,10.0.0.1:80", (("10.0.0.1", 80), ("10.0.0.2", 81))),
        ("[::1]:80", (("::1", 80),)),
        (":9000", (("127.0.0.1", 9000),)),
        ("9000", (("127.0.0.1", 9000),)),
    ],
)
def test_endpoints(text: str, want: tuple[tuple[str, int], ...]) -> None:
    assert read_endpoints(text) == want


def test_a_name_is_looked_up_once() -> None:
    assert ("127.0.0.1", 9000) in read_endpoints("localhost:9000")


@pytest.mark.parametrize("text", ["", "10.0.0.1", "10.0.0.1:0", "10.0.0.1:80,", "nope.invalid:80", "http://x:80"])
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(BadAddress):
        read_endpoints(text)


@pytest.mark.parametrize(
    ("text", "host", "path"),
    [
        ("shop.example.com/api=10.0.0.1:80", "shop.example.com", "/api"),
        ("Shop.example.com=10.0.0.1:80", "shop.example.com", "/"),
        ("*.example.com/=10.0.0.1:80", "*.example.com", "/"),
        ("/api/v1=10.0.0.1:80", "", "/api/v1"),
        ("/a=b=10.0.0.1:80", "", "/a=b"),
    ],
)
def test_routes(text: str, host: str, path: str) -> None:
    assert read_route(text) == FlagRoute(host, path, (("10.0.0.1", 80),))


@pytest.mark.parametrize(
    "text", ["a.example", "=", "a.example=", "a.example:80/x=:80", "*=:80", "a/x?y=:80", "a//b=:80"]
)
def test_what_is_no_route(text: str) -> None:
    with pytest.raises(BadAddress):
        read_route(text)


def test_flags_become_the_objects_that_say_the_same() -> None:
    routes = [read_route("a.example/api=10.0.0.1:80,10.0.0.2:81,[fd00::1]:80"), read_route("/all=10.0.0.3:80")]
    table = table_of(*objects_of(read_endpoints("10.0.0.9:90"), routes, "nginx"))
    assert not len(table.problems)

    def endpoints(host: str, path: str) -> set[tuple[str, int]]:
        found = explain(table, "http", host, path)
        return set(found.backend.endpoints) if found.backend else set()

    assert endpoints("a.example", "/api/x") == {("10.0.0.1", 80), ("10.0.0.2", 81), ("fd00::1", 80)}
    assert endpoints("a.example", "/") == {("10.0.0.9", 90)}, "--to takes what no --route takes"
    assert endpoints("other", "/all") == {("10.0.0.3", 80)}
    assert endpoints("other", "/") == {("10.0.0.9", 90)}
