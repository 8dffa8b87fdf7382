"""What is not served, and what is served without effect, by the numbers in the inventory of behaviours."""

import pytest

from tests.ingress.site import CONFIGURED, Site, annotated, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

site = fixture_of(
    annotated("good.example"),
    annotated("bad.example", {}, ("/good", "Prefix"), ("/foo/(;\nalias /etc/;", "ImplementationSpecific")),
    annotated("bad.example", {}, ("/other", "Prefix"), name="other"),
    annotated("literal.example", {}, ("/a[0-9]", "Prefix")),
    annotated("snippet.example", {"configuration-snippet": "return 418;", "server-snippet": "deny all;"}),
    annotated("waf.example", {"enable-modsecurity": "true", "session-cookie-hash": "md5"}),
    annotated("risky.example", {"upstream-hash-by": "$request_uri"}),
    annotated("words.example", {"permanent-redirect": "https://www.forbidden.example"}),
    flags=CONFIGURED,
)


async def status(site: Site, host: str, path: str = "/") -> int:
    return (await site.get(host, path)).status


async def test_81_dangerous_paths_leave_out_the_whole_ingress(site: Site) -> None:
    assert await status(site, "bad.example", "/good") == 404
    assert await status(site, "bad.example", "/other") == 200
    assert "'/foo/(;\\nalias /etc/;' has a directive of nginx; the Ingress is not served" in site.served.log


async def test_82_what_is_no_plain_text_is_reported(site: Site) -> None:
    assert await status(site, "literal.example", "/a[0-9]") == 200
    assert '"/a[0-9]" has characters that ingress-nginx does not admit' in site.served.log


@pytest.mark.parametrize("host", ["snippet.example", "waf.example"])
async def test_252_annotations_without_effect(site: Site, host: str) -> None:
    assert await status(site, host) == 200


async def test_252_they_are_reported(site: Site) -> None:
    log = site.served.log
    for name in ("configuration-snippet", "server-snippet"):
        assert f"{name}]: text for nginx's configuration has no meaning here; it has no effect" in log
    assert "NOBODY INSPECTS REQUESTS" in log
    assert "session-cookie-hash" not in log


async def test_253_risks_above_the_level(site: Site) -> None:
    site.configure({"annotations-risk-level": "Medium"})
    await site.becomes(lambda: status(site, "risky.example"), 404)
    assert (await status(site, "good.example"), await status(site, "snippet.example")) == (200, 200)
    site.configure({"annotations-risk-level": "High"})
    await site.becomes(lambda: status(site, "risky.example"), 200)


async def test_253_forbidden_words(site: Site) -> None:
    site.configure({"annotation-value-word-blocklist": "alias ,forbidden"})
    await site.becomes(lambda: status(site, "words.example"), 404)
    assert await status(site, "good.example") == 200
    site.configure({})
    await site.becomes(lambda: status(site, "words.example"), 301)
