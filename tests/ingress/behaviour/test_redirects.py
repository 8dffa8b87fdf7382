"""Redirects, by their numbers in the inventory of behaviours."""

from pathlib import Path

import pytest

from tests.ingress.site import CONFIGURED, Site, annotated, config_map, fixture_of, site_of
from tests.ingress.state import ingress

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROXY = {"proxy-redirect-from": "http://inside.example/", "proxy-redirect-to": "http://outside.example/"}

site = fixture_of(
    annotated("force.example", {"force-ssl-redirect": "true"}),
    annotated("force2.example", {"force-ssl-redirect": "true", "ssl-redirect": "false"}),
    annotated("keep.example", {"force-ssl-redirect": "true", "preserve-trailing-slash": "true"}),
    annotated("port.example", {"force-ssl-redirect": "true", "use-port-in-redirects": "true"}),
    annotated("permanent.example", {"permanent-redirect": "https://www.example.com/a?b=c"}),
    annotated("code.example", {"permanent-redirect": "http://www.example.com", "permanent-redirect-code": "302"}),
    annotated("range.example", {"permanent-redirect": "http://www.example.com", "permanent-redirect-code": "309"}),
    annotated("temporal.example", {"temporal-redirect": "http://t.example", "permanent-redirect": "http://p.example"}),
    annotated("seven.example", {"temporal-redirect": "http://t.example", "temporal-redirect-code": "307"}),
    annotated("ftp.example", {"permanent-redirect": "ftp://p.example"}),
    annotated("bare.example", {"permanent-redirect": "/new"}, ("/old", "Prefix")),
    annotated("relative.example", {"permanent-redirect": "/new", "relative-redirects": "true"}),
    annotated("app.example", {"app-root": "/foo"}),
    annotated("app-variable.example", {"app-root": "/in/$arg_tenant?from=$host"}),
    annotated("app2.example", {"app-root": "/foo"}, ("/foo", "Prefix")),
    annotated("inside.example", PROXY),
    annotated("slash.example", {}, ("/x/", "Prefix"), ("/y/z/", "Exact"), ("/w/", "Prefix"), ("/w", "Exact")),
    annotated("off.example", {"proxy-redirect-from": "off", "proxy-redirect-to": "http://outside.example/"}),
    annotated("default.example", {"proxy-redirect-from": "default"}),
    https=True,
)


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param("force.example", "/", "https://force.example", id="83"),
        pytest.param("force.example:8080", "/", "https://force.example", id="83-port"),
        pytest.param("force2.example", "/a", "https://force2.example/a", id="83-over-ssl-redirect"),
        pytest.param("force.example", "/foo/", "https://force.example/foo", id="84"),
        pytest.param("force.example", "/foo//?a=/b/", "https://force.example/foo//?a=/b", id="84-query"),
        pytest.param("force.example", "/a%2Fb", "https://force.example/a%2Fb", id="84-raw"),
        pytest.param("keep.example", "/", "https://keep.example/", id="85"),
        pytest.param("port.example", "/x", "https://port.example:{https}/x", id="102"),
    ],
)
async def test_83_to_tls(site: Site, host: str, path: str, wanted: str) -> None:
    assert await site.location(host, path) == (308, wanted.format(https=site.served.https))
    assert (await site.get(host, path, secure=True)).status == 200


@pytest.mark.parametrize("claim", [("x-forwarded-proto", "https"), ("x-forwarded-host", "example.com:80")])
async def test_90_strangers_are_not_believed(site: Site, claim: tuple[str, str]) -> None:
    assert await site.location("force.example", "/", fields=[claim]) == (308, "https://force.example")


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        pytest.param("permanent.example", "/x?y", (301, "https://www.example.com/a?b=c"), id="95"),
        pytest.param("code.example", "/", (302, "http://www.example.com"), id="96"),
        pytest.param("range.example", "/", (301, "http://www.example.com"), id="97"),
        pytest.param("temporal.example", "/", (302, "http://t.example"), id="98"),
        pytest.param("seven.example", "/", (307, "http://t.example"), id="98-code"),
        pytest.param("ftp.example", "/", (200, ""), id="98-not-http"),
        pytest.param("bare.example", "/old", (301, "http://bare.example/new"), id="99"),
        pytest.param("bare.example:8080", "/old/x", (301, "http://bare.example/new"), id="99-port"),
        pytest.param("relative.example", "/", (301, "/new"), id="100"),
    ],
)
async def test_95_to_elsewhere(site: Site, host: str, path: str, wanted: tuple[int, str]) -> None:
    assert await site.location(host, path) == wanted


async def test_102_of_the_operator(tmp_path: Path) -> None:
    """For all Ingresses, those without annotations among them."""
    plain = ingress("plain", {"plain.example": [("/", "Prefix", "echo")]})
    config = config_map("ops", "controller", {"use-port-in-redirects": "true", "force-ssl-redirect": "true"})
    async with site_of(tmp_path, plain, config, flags=CONFIGURED, https=True) as site:
        wanted = (308, f"https://plain.example:{site.served.https}/x")
        assert await site.location("plain.example", "/x") == wanted


async def test_99_the_scheme_is_the_clients(site: Site) -> None:
    assert await site.location("bare.example", "/old", secure=True) == (301, "https://bare.example/new")


@pytest.mark.parametrize(
    ("host", "path", "wanted"),
    [
        ("app.example", "/", (302, "http://app.example/foo")),
        ("app.example:8080", "/?x=y", (302, "http://app.example:8080/foo")),
        ("app.example", "/foo", (200, "")),
        ("app.example", "/bar/", (200, "")),
        ("app2.example", "/", (302, "http://app2.example/foo")),
        ("app2.example", "/bar", (404, "")),
        ("app-variable.example", "/?tenant=a", (302, "http://app-variable.example/in/a?from=app-variable.example")),
    ],
)
async def test_67_the_root_of_an_application(site: Site, host: str, path: str, wanted: tuple[int, str]) -> None:
    assert await site.location(host, path) == wanted


@pytest.mark.parametrize(
    ("host", "told", "wanted"),
    [
        ("inside.example", "http://inside.example/x?y", "http://outside.example/x?y"),
        ("inside.example", "http://inside.example:80/x", "http://inside.example:80/x"),
        ("inside.example", "/x", "/x"),
        ("off.example", "http://inside.example/x", "http://inside.example/x"),
        ("default.example", "http://inside.example/x", "http://inside.example/x"),
    ],
)
async def test_101_what_endpoints_say(site: Site, host: str, told: str, wanted: str) -> None:
    fields = [("tell-status", "302"), ("tell-location", told), ("tell-refresh", f"3; url={told}")]
    answer = await site.get(host, "/", fields=fields)
    assert (answer.status, answer.fields["location"]) == (302, wanted)
    assert answer.fields["refresh"] == f"3; url={wanted}"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/x", (301, "http://slash.example/x/")),
        ("/x?a=/b", (301, "http://slash.example/x/?a=/b")),
        ("/y/z", (301, "http://slash.example/y/z/")),
        ("/x/", (200, "")),
        ("/x/1", (200, "")),
        ("/w", (200, "")),
        ("/y", (404, "")),
    ],
)
async def test_79_paths_without_their_slash(site: Site, path: str, wanted: tuple[int, str]) -> None:
    assert await site.location("slash.example", path) == wanted
