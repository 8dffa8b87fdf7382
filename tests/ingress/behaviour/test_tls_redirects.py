"""Redirects to TLS and to www under a ConfigMap, by their numbers in the inventory of behaviours."""

from typing import Any

import pytest

from tests.ingress.certificates import tls_secret
from tests.ingress.site import CONFIGURED, Site, annotated, fixture_of
from tests.ingress.state import ingress

pytestmark = pytest.mark.asyncio(loop_scope="module")


def tls(*hosts: str, secret: str = "") -> Any:
    return [{"hosts": list(hosts), **({"secretName": secret} if secret else {})}]


site = fixture_of(
    tls_secret("there", "tls.example"),
    annotated("tls.example", {}, tls=tls("tls.example", secret="there")),
    annotated("gone.example", {}, tls=tls("gone.example", secret="missing")),
    annotated("nameless.example", {}, tls=tls("nameless.example")),
    annotated("off.example", {"ssl-redirect": "false"}, tls=tls("off.example")),
    annotated("plain.example"),
    annotated("force.example", {"force-ssl-redirect": "true"}),
    annotated("shared.example", name="shared-a"),
    ingress("shared-b", {"shared.example": [("/b", "Prefix", "echo")]}, tls=tls("shared.example")),
    ingress("specified", {"specified.example": [("/", "Prefix", "echo")]}, tls=tls("specified.example")),
    annotated("apex.example", {"from-to-www-redirect": "true"}, tls=tls("apex.example", "www.apex.example")),
    annotated("www.other.example", {"from-to-www-redirect": "true"}),
    annotated("taken.example", {"from-to-www-redirect": "true"}),
    ingress("owner", {"www.taken.example": [("/", "Prefix", "owner")]}),
    flags=CONFIGURED,
    https=True,
)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        pytest.param("tls.example", 308, id="86"),
        pytest.param("gone.example", 308, id="86-secret-is-missing"),
        pytest.param("nameless.example", 308, id="86-no-secret"),
        pytest.param("shared.example", 308, id="86-by-another-ingress"),
        pytest.param("off.example", 200, id="87"),
        pytest.param("plain.example", 200, id="87-no-tls"),
        pytest.param("specified.example", 200, id="8-by-the-specification"),
    ],
)
async def test_86_where_there_is_tls(site: Site, host: str, wanted: int) -> None:
    site.configure({})
    location = f"https://{host}" if wanted == 308 else ""
    await site.becomes(lambda: site.location(host), (wanted, location))
    assert (await site.get(host, secure=True)).status == 200


@pytest.mark.parametrize("code", [301, 302, 307])
async def test_92_the_code_is_the_operators(site: Site, code: int) -> None:
    site.configure({"http-redirect-code": str(code)})
    await site.becomes(lambda: site.location("tls.example", "/a"), (code, "https://tls.example/a"))


async def test_87_the_operator_redirects_nobody(site: Site) -> None:
    site.configure({"ssl-redirect": "false"})
    await site.becomes(lambda: site.location("tls.example"), (200, ""))
    assert await site.location("force.example") == (308, "https://force.example")


async def test_83_the_operator_redirects_everybody(site: Site) -> None:
    site.configure({"force-ssl-redirect": "true"})
    await site.becomes(lambda: site.location("plain.example", "/x/"), (308, "https://plain.example/x"))


async def test_91_challenges_are_answered_without_tls(site: Site) -> None:
    site.configure({})
    path = "/.well-known/acme-challenge/token"
    await site.becomes(lambda: site.location("tls.example", path), (200, ""))
    assert await site.location("tls.example", "/.well-known/other") == (308, "https://tls.example/.well-known/other")
    site.configure({"no-tls-redirect-locations": "/open, /free"})
    await site.becomes(lambda: site.location("tls.example", path), (308, f"https://tls.example{path}"))
    assert await site.location("tls.example", "/free/x") == (200, "")


@pytest.mark.parametrize(
    ("claims", "wanted"),
    [
        pytest.param([("x-forwarded-host", "example.com:80")], (308, "https://example.com"), id="88"),
        pytest.param([("x-forwarded-proto", "https")], (200, ""), id="89"),
        pytest.param([("x-forwarded-proto", "http")], (308, "https://tls.example"), id="89-http"),
    ],
)
async def test_88_trusted_proxies_are_believed(
    site: Site, claims: list[tuple[str, str]], wanted: tuple[int, str]
) -> None:
    site.configure({"use-forwarded-headers": "true"})
    await site.becomes(lambda: site.location("tls.example", fields=claims), wanted)
    site.configure({})
    await site.becomes(lambda: site.location("tls.example", fields=claims), (308, "https://tls.example"))


@pytest.mark.parametrize(
    ("host", "path", "secure", "wanted"),
    [
        pytest.param("www.apex.example", "/foo", False, "http://apex.example:{http}/foo", id="93"),
        pytest.param("www.apex.example", "/", True, "https://apex.example:{https}", id="94"),
        pytest.param("other.example", "/foo?x", False, "http://www.other.example:{http}/foo?x", id="94-reverse"),
        pytest.param("apex.example", "/", True, "", id="93-apex"),
    ],
)
async def test_93_from_and_to_www(site: Site, host: str, path: str, secure: bool, wanted: str) -> None:
    site.configure({})
    location = wanted.format(http=site.served.http, https=site.served.https)
    await site.becomes(lambda: site.location(host, path, secure=secure), (308 if wanted else 200, location))


async def test_92_to_www_too(site: Site) -> None:
    site.configure({"http-redirect-code": "301"})
    location = f"http://www.other.example:{site.served.http}/x"
    await site.becomes(lambda: site.location("other.example", "/x"), (301, location))


async def test_94_not_if_another_ingress_has_the_name(site: Site) -> None:
    assert (await site.get("www.taken.example")).service == "owner"
