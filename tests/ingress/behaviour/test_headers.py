"""Fields of requests and responses, by the numbers in the inventory of behaviours."""

import pytest

from tests.ingress.site import Site, annotated, config_map, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

site = fixture_of(
    annotated("plain.example"),
    annotated("vhost.example", {"upstream-vhost": "inside.example"}),
    annotated("vhost-of.example", {"upstream-vhost": "in.$host"}),
    annotated("connection.example", {"connection-proxy-header": "keep-alive"}),
    annotated("cookies.example", {"proxy-cookie-domain": "localhost example.org", "proxy-cookie-path": "/one/ /"}),
    annotated(
        "patterns.example",
        {"proxy-cookie-domain": r"~\.(?P<last>[-a-z]+\.[a-z]+)$ $last", "proxy-cookie-path": "~*^/ONE/([a-z]+) /$1"},
    ),
    annotated("look.example", {"proxy-cookie-path": "~(?!/) /x"}),
    annotated("custom.example", {"custom-headers": "shop/own"}),
    annotated("missing.example", {"custom-headers": "shop/none"}),
    config_map("shop", "own", {"X-Custom": "42"}),
    https=True,
)


async def test_152_strict_transport_security_by_tls_only(site: Site) -> None:
    wanted = "max-age=31536000; includeSubDomains"
    assert (await site.get("plain.example", secure=True)).fields["strict-transport-security"] == wanted
    assert "strict-transport-security" not in (await site.get("plain.example")).fields


async def test_156_one_value_whatever_the_endpoint_says(site: Site) -> None:
    answer = await site.get("plain.example", secure=True, fields=[("tell-strict-transport-security", "max-age=1")])
    found = [value for name, value in answer.lines if name == "strict-transport-security"]
    assert found == ["max-age=31536000; includeSubDomains"]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("vhost.example", "inside.example"),
        ("vhost-of.example", "in.vhost-of.example"),
        ("plain.example", "plain.example"),
    ],
)
async def test_193_the_host_for_endpoints(site: Site, host: str, wanted: str) -> None:
    sent = (await site.get(host)).echo["headers"]
    assert (sent["host"], sent["x-forwarded-host"]) == (wanted, host)


async def test_194_connection_for_endpoints(site: Site) -> None:
    assert (await site.get("connection.example")).echo["headers"]["connection"] == "keep-alive"
    assert "connection" not in (await site.get("plain.example")).echo["headers"]


async def test_189_cookies_of_endpoints(site: Site) -> None:
    fields = [("tell-set-cookie", "a=1; Domain=localhost; Path=/one/two"), ("tell-set-cookie", "b=2; Path=/x")]
    answer = await site.get("cookies.example", fields=fields)
    found = [value for name, value in answer.lines if name == "set-cookie"]
    assert found == ["a=1; Domain=example.org; Path=/two", "b=2; Path=/x"]


async def test_189_cookies_by_patterns(site: Site) -> None:
    fields = [
        ("tell-set-cookie", "a=1; Domain=pod.shop.test; Path=/one/two/three"),
        ("tell-set-cookie", "b=2; Path=/x"),
    ]
    answer = await site.get("patterns.example", fields=fields)
    found = [value for name, value in answer.lines if name == "set-cookie"]
    assert found == ["a=1; Domain=shop.test; Path=/two", "b=2; Path=/x"]


async def test_189_what_is_no_pattern_of_re2_is_reported(site: Site) -> None:
    answer = await site.get("look.example", fields=[("tell-set-cookie", "a=1; Path=/one")])
    assert answer.fields["set-cookie"] == "a=1; Path=/one"
    assert '"(?!/)" is not a pattern of RE2' in site.served.log


async def test_221_nobody_is_told_what_has_answered(site: Site) -> None:
    assert "server" not in (await site.get("plain.example")).fields
    assert "server" not in (await site.get("plain.example", fields=[("tell-server", "pod/1")])).fields


@pytest.mark.parametrize("host", ["custom.example", "missing.example"])
async def test_222_custom_fields_that_nobody_has_allowed(site: Site, host: str) -> None:
    assert (await site.get(host)).status == 503
