"""Host and path to route: Kubernetes' order, nginx's normalisation."""

import asyncio
from collections.abc import Iterator

import pytest

from ingress.proxy import Engine, RouteSpec, Settings
from ingress.proxy.engine import normalise_path


@pytest.fixture
def engine() -> Iterator[Engine]:
    loop = asyncio.new_event_loop()
    made = Engine(Settings(), loop)
    yield made
    made.close()
    loop.close()


def table(*paths: str) -> list[RouteSpec]:
    """Routes numbered from 1; "=/foo" is exact."""
    return [RouteSpec(path.lstrip("="), path.startswith("="), "b", i) for i, path in enumerate(paths, 1)]


@pytest.mark.parametrize(
    ("paths", "request_path", "want"),
    [
        (["/"], "/anything", 1),
        (["/"], "/", 1),
        (["=/foo"], "/foo", 1),
        (["=/foo"], "/bar", None),
        (["=/foo"], "/foo/", None),
        (["=/foo"], "/FOO", None),
        (["=/foo/"], "/foo", None),
        (["=/foo/"], "/foo/", 1),
        (["=/"], "/", 1),
        (["=/"], "/a", None),
        (["/foo"], "/foo", 1),
        (["/foo"], "/foo/", 1),
        (["/foo"], "/FOO", None),
        (["/foo/"], "/foo", 1),
        (["/foo/"], "/foo/", 1),
        (["/foo/"], "/foo/bar", 1),
        (["/foo/"], "/foobar", None),
        (["/aaa/bb"], "/aaa/bbb", None),
        (["/aaa/bbb"], "/aaa/bbb", 1),
        (["/aaa/bbb"], "/aaa/bbb/", 1),
        (["/aaa/bbb"], "/aaa/bbb/ccc", 1),
        (["/aaa/bbb"], "/aaa/bbbxyz", None),
        (["/aaa/bbb/"], "/aaa/bbb", 1),
        (["/", "/aaa"], "/aaa/ccc", 2),
        (["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", 3),
        (["/", "/aaa", "/aaa/bbb"], "/ccc", 1),
        (["/aaa/bbb", "/aaa"], "/aaa/bbb/ccc", 1),
        (["/aaa/bbb", "/aaa"], "/aaaccc", None),
        (["/aaa"], "/ccc", None),
        (["/foo", "=/foo"], "/foo", 2),
        (["/foo/", "=/foo"], "/foo", 2),
        (["/foo", "/foo/"], "/foo", 2),
        (["/foo", "/foo/"], "/foo/", 2),
        (["/foo", "/foo/"], "/foo/bar", 2),
        (["/foo", "/foo"], "/foo", 1),
        (["/foo"], "//foo//bar", 1),
        (["/foo"], "/x/../foo/./bar", 1),
        (["/foo"], "/%66oo?x=/bar", 1),
        (["/foo"], "/foo%2fbar", 1),
        (["/a b"], "/a%20b/c", 1),
        (["/é"], "/%C3%A9", 1),
        (["/foo"], "/..", None),
        (["/" + "x/" * 500], "/" + "x/" * 600, 1),
    ],
)
def test_paths(engine: Engine, paths: list[str], request_path: str, want: int | None) -> None:
    engine.set_host("", table(*paths))
    assert engine.match("any.example", request_path) == want


@pytest.mark.parametrize(
    ("host", "want"),
    [
        ("shop.example", 1),
        ("SHOP.Example", 1),
        ("shop.example.", 1),
        ("shop.example:8080", 1),
        ("a.shop.example", 2),
        ("a.b.shop.example", 3),
        ("b.shop.example", 4),
        ("example", 3),
        ("", 3),
        ("[::1]:80", 3),
    ],
)
def test_hosts(engine: Engine, host: str, want: int) -> None:
    for number, name in enumerate(("shop.example", "*.shop.example", "", "b.shop.example"), 1):
        engine.set_host(name, [RouteSpec("/", False, "b", number)])
    assert engine.match(host, "/") == want


def test_a_host_is_chosen_before_its_paths(engine: Engine) -> None:
    engine.set_host("", table("/"))
    engine.set_host("shop.example", table("/only"))
    assert engine.match("shop.example", "/other") is None
    engine.remove_host("shop.example")
    assert engine.match("shop.example", "/other") == 1
    engine.remove_host("")
    assert engine.match("shop.example", "/other") is None


def test_a_wrong_path_is_told_and_changes_nothing(engine: Engine) -> None:
    engine.set_host("", table("/"))
    with pytest.raises(ValueError, match="must begin with '/'"):
        engine.set_host("", [RouteSpec("x", False, "b", 9)])
    assert engine.match("x", "/") == 1


def test_a_wrong_endpoint_is_told_and_changes_nothing(engine: Engine) -> None:
    engine.set_backend("b", [("192.0.2.1", 80)])
    for wrong in (("host.example", 80), ("192.0.2.1", 0), ("192.0.2.2", 65536), ("", 80)):
        with pytest.raises(ValueError, match="endpoint"):
            engine.set_backend("b", [("192.0.2.9", 80), wrong])
    assert [one.address for one in engine.seen_endpoints()] == ["192.0.2.1:80"]


def test_many_hosts_and_paths(engine: Engine) -> None:
    for host in range(300):
        engine.set_host(f"h{host}.example", [RouteSpec(f"/p{path}", False, "b", path) for path in range(300)])
    assert engine.match("h299.example", "/p299/x") == 299
    assert engine.match("h299.example", "/p300") is None


@pytest.mark.parametrize(
    ("path", "want"),
    [
        (b"/", b"/"),
        (b"//", b"/"),
        (b"/a//b///", b"/a/b/"),
        (b"/.", b"/"),
        (b"/./", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a/..", b"/"),
        (b"/a/../b", b"/b"),
        (b"/a/b/../../c", b"/c"),
        (b"/..a/.b./...", b"/..a/.b./..."),
        (b"/%2e%2e/", None),
        (b"/a/%2E%2e/b", b"/b"),
        (b"/a%2f..%2fb", b"/b"),
        (b"/%41%zz", None),
        (b"/%", None),
        (b"/%0", None),
        (b"/%00", None),
        (b"/a/../..", None),
        (b"/%3f%23%25", b"/?#%"),
        (b"x", None),
    ],
)
def test_normalised(path: bytes, want: bytes | None) -> None:
    assert normalise_path(path) == want
