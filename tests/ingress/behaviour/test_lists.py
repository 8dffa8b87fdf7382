"""Lists of client addresses, by their numbers in the inventory of behaviours."""

import pytest

from tests.ingress.site import CONFIGURED, CONTROLLER, Site, annotated, config_map, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALLOW, BEFORE, DENY = "allowlist-source-range", "whitelist-source-range", "denylist-source-range"

site = fixture_of(
    annotated("allow.example", {ALLOW: "18.0.0.0/8,56.0.0.0/8"}),
    annotated("before.example", {BEFORE: "18.0.0.0/8, 2001:db8::/32"}),
    annotated("deny.example", {DENY: "18.0.0.0/8,56.0.0.1"}),
    annotated("both.example", {ALLOW: "18.0.0.0/8, 55.0.0.0/8", DENY: "18.1.0.0/16"}),
    annotated("wrong.example", {ALLOW: "18.0.0.0/8,here"}),
    annotated("wrong-deny.example", {DENY: "18.0.0.0/40"}),
    annotated("open.example"),
    flags=["--use-forwarded-headers", "--trusted-proxies", "127.0.0.1/32"],
)


@pytest.mark.parametrize(
    ("host", "client", "status"),
    [
        pytest.param("allow.example", "18.0.0.1", 200, id="225"),
        pytest.param("allow.example", "56.0.0.1", 200, id="225-second"),
        pytest.param("allow.example", "57.0.0.1", 403, id="225-outside"),
        pytest.param("allow.example", "::ffff:18.0.0.1", 200, id="225-mapped"),
        pytest.param("allow.example", "2001:db8::1", 403, id="225-other-family"),
        pytest.param("before.example", "2001:db8:7::1", 200, id="225-v6"),
        pytest.param("before.example", "56.0.0.1", 403, id="225-older-name"),
        pytest.param("deny.example", "18.255.0.1", 403, id="226"),
        pytest.param("deny.example", "56.0.0.1", 403, id="226-one"),
        pytest.param("deny.example", "56.0.0.2", 200, id="226-beside"),
        pytest.param("both.example", "18.1.2.3", 403, id="227-denied"),
        pytest.param("both.example", "18.4.0.1", 200, id="227"),
        pytest.param("both.example", "55.55.55.55", 200, id="227-second"),
        pytest.param("both.example", "10.10.10.10", 403, id="227-outside"),
        pytest.param("wrong.example", "18.0.0.1", 503, id="228"),
        pytest.param("wrong-deny.example", "10.0.0.1", 503, id="228-deny"),
        pytest.param("open.example", "10.0.0.1", 200, id="228-others-are-served"),
    ],
)
async def test_225_by_address(site: Site, host: str, client: str, status: int) -> None:
    before = site.endpoints["echo"].requests
    answer = await site.get(host, "/", fields=[("X-Forwarded-For", client)])
    assert answer.status == status
    assert site.endpoints["echo"].requests - before == (status == 200)
    if status == 403:
        assert b"<h1>403 Forbidden</h1>" in answer.body


async def test_225_the_last_address_that_is_not_trusted_counts(site: Site) -> None:
    answer = await site.get("allow.example", "/", fields=[("X-Forwarded-For", "18.0.0.1, 10.0.0.1")])
    assert answer.status == 403


configured = fixture_of(
    config_map(*CONTROLLER.split("/"), {BEFORE: "18.0.0.0/8", DENY: "18.1.0.0/16"}),
    annotated("plain.example"),
    annotated("own.example", {ALLOW: "10.0.0.0/8"}),
    annotated("own-deny.example", {DENY: "18.2.0.0/16"}),
    flags=["--use-forwarded-headers", "--trusted-proxies", "127.0.0.1/32", *CONFIGURED],
)


@pytest.mark.parametrize(
    ("host", "client", "status"),
    [
        ("plain.example", "18.4.0.1", 200),
        ("plain.example", "18.1.0.1", 403),
        ("plain.example", "10.0.0.1", 403),
        ("own.example", "10.0.0.1", 200),
        ("own.example", "18.4.0.1", 403),
        ("own-deny.example", "18.1.0.1", 200),
        ("own-deny.example", "18.2.0.1", 403),
    ],
)
async def test_228_annotations_take_the_place_of_the_config_maps_lists(
    configured: Site, host: str, client: str, status: int
) -> None:
    assert (await configured.get(host, "/", fields=[("X-Forwarded-For", client)])).status == status


async def test_228_what_is_wrong_in_the_config_map_closes(configured: Site) -> None:
    async def statuses() -> list[int]:
        fields = [("X-Forwarded-For", "10.0.0.1")]
        return [(await configured.get(host, fields=fields)).status for host in ("plain.example", "own.example")]

    configured.configure({BEFORE: "10.0.0.0/99"})
    await configured.becomes(statuses, [503, 200])
    configured.configure({})
    await configured.becomes(statuses, [200, 200])
