"""Rewrites, patterns and paths, by their numbers in the inventory of behaviours."""

import pytest

from tests.ingress.site import Site, annotated, fixture_of
from tests.ingress.state import ingress

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGEX = {"use-regex": "true"}
ANY = "ImplementationSpecific"

site = fixture_of(
    annotated("docs.example", {**REGEX, "rewrite-target": "/$2"}, ("/something(/|$)(.*)", ANY)),
    annotated("capture.example", {"rewrite-target": "/new/backend/$1"}, ("/foo/bar/(.+)", ANY)),
    annotated("root.example", {"rewrite-target": "/new/backend"}, name="root"),
    annotated("root.example", {}, ("/.well-known/acme/challenge", "Prefix"), name="challenge"),
    annotated("same.example", {"rewrite-target": "/"}),
    annotated("two.example", {**REGEX, "rewrite-target": "/new/backend"}, ("/foo.+", ANY), name="two-a"),
    annotated("two.example", {}, ("/foo", "Prefix"), name="two-b"),
    annotated(
        "longer.example", {**REGEX, "rewrite-target": "/new/backend"}, ("/foo/bar/[a-z]{3}", ANY), name="longer-a"
    ),
    annotated("longer.example", {}, ("/foo/bar/bar", "Prefix"), name="longer-b"),
    annotated("case.example", REGEX, ("/Foo/.*", ANY, "one"), ("/plain", "Exact", "two"), ("/", "Prefix", "three")),
    annotated("optional.example", {"rewrite-target": "/x/$2/$1/$3"}, ("/a(b)?(c)?", ANY)),
    annotated(
        "prefix.example", {"rewrite-target": "/foo", "x-forwarded-prefix": "/test/value"}, ("/bar", ANY), ("/foo", ANY)
    ),
    annotated("no-prefix.example", {"rewrite-target": "/foo", "x-forwarded-prefix": ""}, ("/bar", ANY)),
    annotated("no-rewrite.example", {"x-forwarded-prefix": "/test/value"}),
    annotated("query.example", {"rewrite-target": "/new?k=$1"}, ("/old/(.*)", ANY)),
    annotated("id.example", REGEX, ("/id/[0-9]+", ANY)),
    annotated("id-end.example", REGEX, ("/id/[0-9]+$", ANY)),
    annotated("id-three.example", REGEX, ("/id/[0-9]{3}$", ANY)),
    annotated("post.example", REGEX, ("/id/[0-9]+/post/[a-zA-Z]+$", ANY)),
    annotated("bad.example", REGEX, ("/a(b", ANY, "one"), ("/good[0-9]", ANY, "two")),
    annotated("aaa.example", {}, ("/aaa", "Prefix")),
    annotated("exact.example", {}, ("/exact", "Exact", "one"), ("/exact", "Prefix", "two"), created="2024"),
    annotated("exact.example", {}, ("/exact", "Prefix", "three"), name="later", created="2025"),
    annotated(
        "mixed.example",
        {},
        ("/", "Exact", "one"),
        ("/", "Prefix", "two"),
        ("/foo", "Exact", "three"),
        ("/foo", "Prefix", "four"),
    ),
    annotated("host-a.example", {}, ("/path", "Prefix", "one")),
    annotated("host-b.example", {}, ("/path", "Prefix", "two")),
    annotated("*.wild.example", {}, ("/", "Prefix", "three")),
    ingress("nobodys", {"": [("/everywhere", "Prefix", "four")]}),
    annotated("raw.example", {}, ("/a b", "Prefix", "one"), ("/", "Prefix", "two")),
)


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param("docs.example", "/something", "/", id="56"),
        pytest.param("docs.example", "/something/", "/", id="57"),
        pytest.param("docs.example", "/something/new?x=1", "/new?x=1", id="58"),
        pytest.param(
            "docs.example", "/something/a%20b%2Fc%3Fd/%c3%a9?y=/z", "/a%20b/c%3Fd/%C3%A9?y=/z", id="58-escapes"
        ),
        pytest.param("docs.example", "/something/a%0d%0aX: y".replace(" ", "%20"), "/a%0D", id="58-line-ends"),
        pytest.param("capture.example", "/foo/bar/bar", "/new/backend/bar", id="59"),
        pytest.param("capture.example", "/foo/bar/x/y?z", "/new/backend/x/y?z", id="59-more"),
        pytest.param("root.example", "/", "/new/backend", id="60"),
        pytest.param("root.example", "/.well-known/acme/challenge/1", "/.well-known/acme/challenge/1", id="60-other"),
        pytest.param("same.example", "/a/b", "/a/b", id="60-same"),
        pytest.param("two.example", "/foo", "/foo", id="61"),
        pytest.param("two.example", "/foo/bar", "/new/backend", id="61-pattern"),
        pytest.param("longer.example", "/foo/bar/bar", "/new/backend", id="62"),
        pytest.param("optional.example", "/ab?q=1&r", "/x//b/?q=1&r", id="64"),
        pytest.param("optional.example", "/abc", "/x/c/b/", id="64-all"),
        pytest.param("query.example", "/old/a?b=c", "/new?k=a&b=c", id="64-query"),
        pytest.param("aaa.example", "//aaa/../aaa/%61", "//aaa/../aaa/%61", id="80"),
    ],
)
async def test_56_what_endpoints_are_asked_for(site: Site, host: str, path: str, wanted: str) -> None:
    assert await site.sent(host, path) == wanted


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/foo/x", "one"),
        ("/FOO/X", "one"),
        ("/Plain", "two"),
        ("/plain/and/more", "two"),
        ("/other", "three"),
    ],
)
async def test_63_patterns_are_for_the_whole_host_and_any_case(site: Site, path: str, service: str) -> None:
    assert (await site.get("case.example", path)).service == service


@pytest.mark.parametrize(
    ("host", "path", "prefix"),
    [
        pytest.param("prefix.example", "/bar", "/test/value", id="65"),
        pytest.param("no-prefix.example", "/bar", None, id="66"),
        pytest.param("prefix.example", "/foo", None, id="66-not-rewritten"),
        pytest.param("no-rewrite.example", "/bar", None, id="66-no-rewrite"),
    ],
)
async def test_65_the_prefix_for_endpoints(site: Site, host: str, path: str, prefix: str | None) -> None:
    assert (await site.get(host, path)).echo["headers"].get("x-forwarded-prefix") == prefix


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param("aaa.example", "/aaa", "echo", id="68"),
        pytest.param("aaa.example", "/aaa/", "echo", id="68-slash"),
        pytest.param("aaa.example", "/aaa/cccc", "echo", id="68-below"),
        pytest.param("aaa.example", "/aaacccc", 404, id="68-beside"),
        pytest.param("exact.example", "/exact", "one", id="69"),
        pytest.param("exact.example", "/exact/suffix", "two", id="70"),
        pytest.param("mixed.example", "/", "one", id="71"),
        pytest.param("mixed.example", "/bar", "two", id="71-prefix"),
        pytest.param("mixed.example", "/foo", "three", id="72"),
        pytest.param("mixed.example", "/foo/bar", "four", id="72-prefix"),
        pytest.param("mixed.example", "/foobar", "two", id="72-beside"),
        pytest.param("id.example", "/id/1", "echo", id="73-1"),
        pytest.param("id.example", "/id/12", "echo", id="73-12"),
        pytest.param("id.example", "/id/123a", "echo", id="73-123a"),
        pytest.param("id.example", "/id/aaa", 404, id="73-aaa"),
        pytest.param("id-end.example", "/id/123", "echo", id="74"),
        pytest.param("id-end.example", "/id/123a", 404, id="74-123a"),
        pytest.param("id-three.example", "/id/123", "echo", id="75"),
        pytest.param("id-three.example", "/id/99", 404, id="75-99"),
        pytest.param("id-three.example", "/id/9999", 404, id="75-9999"),
        pytest.param("id-three.example", "/id/123a", 404, id="75-123a"),
        pytest.param("post.example", "/id/123/post/abc", "echo", id="75-post"),
        pytest.param("post.example", "/id/123/post/abc123", 404, id="75-post-abc123"),
        pytest.param("post.example", "/id/abc/post/abc", 404, id="75-post-abc"),
        pytest.param("bad.example", "/good1", "two", id="75-beside-a-broken-one"),
        pytest.param("host-a.example", "/path", "one", id="76-a"),
        pytest.param("host-b.example", "/path", "two", id="76-b"),
        pytest.param("any.where", "/everywhere", "four", id="77"),
        pytest.param("a.wild.example", "/", "three", id="78"),
        pytest.param("a.wild.example:8080", "/", "three", id="78-port"),
        pytest.param("a.b.wild.example", "/", 404, id="78-two-labels"),
        pytest.param("wild.example", "/", 404, id="78-apex"),
        pytest.param("unknown.example", "/", 404, id="78-unknown"),
        pytest.param("raw.example", "/a%20b", "one", id="80-escapes"),
        pytest.param("raw.example", "//x/..//a%20b", "one", id="80-normalised"),
    ],
)
async def test_68_who_is_asked(site: Site, host: str, path: str, wanted: str | int) -> None:
    answer = await site.get(host, path)
    assert (answer.status if isinstance(wanted, int) else answer.service) == wanted
