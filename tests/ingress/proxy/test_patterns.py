"""Paths that are patterns: by themselves, and through an engine."""

import asyncio
import re
import time
from collections.abc import Sequence

import pytest

from ingress.filters.api import Request
from ingress.proxy import RouteSpec
from ingress.proxy.patterns import Patterns
from tests.ingress.proxy.filtered import chain, status
from tests.ingress.proxy.rig import rig

MORE = [f"/never/{number}" for number in range(4)]


def numbered(texts: Sequence[str]) -> Patterns:
    return Patterns((text, place) for place, text in enumerate(texts))


@pytest.mark.parametrize("more", [[], MORE], ids=["few", "many"])
@pytest.mark.parametrize(
    ("texts", "path", "expected"),
    [
        (["/a", "/b"], "/b/c", (1, ("/b",))),
        (["/a", "/b"], "/c", None),
        (["/foo/(.*)", "/foo"], "/foo/x/y", (0, ("/foo/x/y", "x/y"))),
        (["/foo", "/foo/(.*)"], "/foo/x/y", (0, ("/foo",))),
        (["/api(/|$)(.*)"], "/api", (0, ("/api", "", ""))),
        (["/api(/|$)(.*)"], "/API/V1", (0, ("/API/V1", "/", "V1"))),
        (["/api(/|$)(.*)"], "/apis", None),
        (["/(a)|/(b)"], "/b", (0, ("/b", None, "b"))),
        (["oo"], "/foo", None),
        (["^/x$"], "/x", (0, ("/x",))),
        (["^/x$"], "/x/", None),
        (["/(.)+"], "/é", (0, ("/é", "\udca9"))),
        (["/é(.*)"], "/éa", (0, ("/éa", "a"))),
        (["/.*"], "/\udcff", (0, ("/\udcff",))),
    ],
)
def test_the_first_that_matches(texts: list[str], path: str, expected: object, more: list[str]) -> None:
    octets = path.encode("utf-8", "surrogateescape")
    assert numbered([*texts, *more]).find(octets) == expected


@pytest.mark.parametrize("wrong", ["(", "/a(?=b)", r"/(a)\1", "/[", "/a{99999}"])
def test_what_is_no_pattern_is_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape(wrong)):
        numbered(["/fine", wrong])


def test_many_are_found_quickly() -> None:
    patterns = numbered([f"/app{number}/(.*)" for number in range(1000)])
    begun = time.perf_counter()
    for number in range(0, 1000, 10):
        assert patterns.find(b"/app%d/x" % number) == (number, (f"/app{number}/x", "x"))
        assert patterns.find(b"/nothing%d" % number) is None
    assert time.perf_counter() - begun < 1


def test_a_pattern_made_to_take_for_ever() -> None:
    patterns = numbered(["/(a+)+$", "/(a|aa)+$", "/(.*a){12}$", *MORE, "/a"])
    begun = time.perf_counter()
    assert patterns.find(b"/" + 5000 * b"a" + b"b") == (7, ("/a",))
    assert time.perf_counter() - begun < 1


def test_several_lead_to_one_route() -> None:
    patterns = Patterns([("/a", 3), ("/b", 0), ("/c", 3)])
    assert [patterns.find(path) for path in (b"/a", b"/b", b"/c")] == [(3, ("/a",)), (0, ("/b",)), (3, ("/c",))]


async def test_hosts_whose_paths_are_patterns() -> None:
    seen: list[Sequence[str | None]] = []

    def look(asked: Request) -> None:
        seen.append(asked.captures)
        seen.append([asked.rule_path])
        asked.upstream_target = "/" + (asked.captures[2] or "")

    async with rig() as r:
        paths = ("/deep/(\\d+)", "/api(/|$)(.*)", "/plain")
        routes = [
            RouteSpec(path, False, "backend", 10 + n, (), filters=chain(look) if n == 1 else None)
            for n, path in enumerate(paths)
        ]
        r.engine.set_host("shop.example", routes, patterns=numbered(paths))
        assert status(await r.get("/API/x%20/./y?q")) == 500  # a target with a blank is no target
        assert seen[-2:] == [("/API/x /y", "/", "x /y"), ["/api(/|$)(.*)"]]
        assert status(await r.get("/nothing")) == 404
        assert (await r.get("/plain/x")).endswith(b"GET /plain/x|")
        assert (await r.get("/deep/12")).endswith(b"GET /deep/12|")
        assert status(await r.get("/deep/x")) == 404
        assert r.engine.match("shop.example", "/deep/7?x") == 10
        assert r.engine.match("shop.example:80", "/%41pi") == 11
        assert r.engine.match("shop.example", "/") is None
        assert r.engine.match("other.example", "/") == 1
        r.engine.set_host("shop.example", [RouteSpec("/", False, "backend", 5)])
        assert r.engine.match("shop.example", "/deep/7?x") == 5


async def test_a_matcher_that_is_broken_harms_only_its_requests() -> None:
    class Broken(Patterns):
        def find(self, path: bytes) -> tuple[int, tuple[str | None, ...]] | None:
            if path == b"/far":
                return 7, ("/far",)
            raise RuntimeError("broken")

    asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
    async with rig() as r:
        r.engine.set_host("shop.example", [RouteSpec("/", False, "backend", 5)], patterns=Broken([("/", 0)]))
        assert status(await r.get("/")) == 500
        assert status(await r.get("/far")) == 500
