"""What the operator's ConfigMap does to fields, logs and clients, by the numbers in the inventory of behaviours."""

import gzip

import brotli
import pytest

from tests.ingress.peers import Answer
from tests.ingress.site import CONFIGURED, Site, annotated, config_map, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDED = {"X-Added": "by us", "X-Who": "$remote_addr", "X-Where": "$namespace/$service_name"}
SENT = {"X-Sent": "by us", "X-Uri": "$request_uri", "Accept-Language": ""}

site = fixture_of(
    annotated("a.example"),
    annotated("custom.example", {"custom-headers": "shop/own"}),
    annotated("missing.example", {"custom-headers": "shop/none"}),
    config_map("shop", "own", {"X-Custom": "42", "X-Literal": "$remote_addr"}),
    config_map("ops", "added", ADDED),
    config_map("ops", "sent", SENT),
    config_map("ops", "every", {"X-Every": "by us", "X-Client": "$remote_addr"}),
    annotated("b.example", {}, ("/only", "Exact")),
    annotated("moved.example", {"permanent-redirect": "http://new.example/"}),
    annotated("tls.example", {"force-ssl-redirect": "true"}),
    annotated("shut.example", {"denylist-source-range": "127.0.0.0/8"}),
    annotated("slash.example", {}, ("/x/", "Prefix")),
    annotated("regex.example", {"use-regex": "true"}, ("/only[0-9]", "ImplementationSpecific")),
    flags=CONFIGURED,
    https=True,
)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        pytest.param({}, "max-age=31536000; includeSubDomains", id="152"),
        pytest.param({"hsts-max-age": "86400"}, "max-age=86400; includeSubDomains", id="153"),
        pytest.param({"hsts-max-age": "86400", "hsts-include-subdomains": "false"}, "max-age=86400", id="154"),
        pytest.param(
            {"hsts-max-age": "7", "hsts-include-subdomains": "false", "hsts-preload": "true"},
            "max-age=7; preload",
            id="155",
        ),
        pytest.param({"hsts": "false"}, "", id="152-off"),
    ],
)
async def test_152_strict_transport_security(site: Site, config: dict[str, str], wanted: str) -> None:
    async def told(secure: bool = True) -> str:
        return (await site.get("a.example", secure=secure)).fields.get("strict-transport-security", "")

    site.configure(config)
    await site.becomes(told, wanted)
    assert await told(secure=False) == ""


async def test_220_fields_for_clients_and_endpoints(site: Site) -> None:
    site.configure({"add-headers": "ops/added", "proxy-set-headers": "ops/sent", "hide-headers": "x-hidden,X-Pod"})

    async def told() -> str:
        return (await site.get("a.example")).fields.get("x-added", "")

    await site.becomes(told, "by us")
    asked = [("accept-language", "en"), ("tell-x-hidden", "1"), ("tell-x-pod", "2"), ("tell-x-added", "by the pod")]
    answer = await site.get("a.example", "/p?q", fields=asked)
    assert {name: answer.fields.get(name) for name in ("x-added", "x-who", "x-where", "x-hidden", "x-pod")} == {
        "x-added": "by us",
        "x-who": "127.0.0.1",
        "x-where": "shop/echo",
        "x-hidden": None,
        "x-pod": None,
    }
    sent = answer.echo["headers"]
    assert (sent["x-sent"], sent["x-uri"], sent.get("accept-language")) == ("by us", "/p?q", None)
    site.folder.write("added", [config_map("ops", "added", {"X-Added": "anew"})])
    await site.becomes(told, "anew")


@pytest.mark.parametrize(
    ("config", "claimed", "wanted"),
    [
        pytest.param({"generate-request-id": "false"}, "", "", id="211-none"),
        pytest.param({"generate-request-id": "false"}, "mine", "mine", id="211-the-clients"),
        pytest.param({"generate-request-id": "false", "proxy-add-original-uri-header": "true"}, "", "", id="211-both"),
    ],
)
async def test_211_request_ids_that_are_not_made(site: Site, config: dict[str, str], claimed: str, wanted: str) -> None:
    async def sent() -> tuple[str, str]:
        fields = [("x-request-id", claimed)] if claimed else []
        found = (await site.get("a.example", "/p?q", fields=fields)).echo["headers"]
        return found.get("x-request-id", ""), found.get("x-original-uri", "")

    site.configure(config)
    await site.becomes(sent, (wanted, "/p?q" if "proxy-add-original-uri-header" in config else ""))


@pytest.mark.parametrize(
    ("config", "told", "wanted"),
    [
        pytest.param({}, "", "", id="221"),
        pytest.param({}, "pod", "", id="221-endpoint"),
        pytest.param({"server-tokens": "true"}, "pod", "causeway", id="221-on"),
        pytest.param({"allow-backend-server-header": "true"}, "pod", "pod", id="221-allowed"),
    ],
)
async def test_221_who_has_answered(site: Site, config: dict[str, str], told: str, wanted: str) -> None:
    async def server() -> str:
        fields = [("tell-server", told)] if told else []
        return (await site.get("a.example", fields=fields)).fields.get("server", "")

    site.configure(config)
    await site.becomes(server, wanted)


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [
        pytest.param("X-Custom,X-Literal", (200, "42", "$remote_addr"), id="222"),
        pytest.param("X-Custom", (503, "", ""), id="222-not-allowed"),
    ],
)
async def test_222_custom_fields(site: Site, allowed: str, wanted: tuple[int, str, str]) -> None:
    async def told() -> tuple[int, str, str]:
        found = await site.get("custom.example")
        return found.status, found.fields.get("x-custom", ""), found.fields.get("x-literal", "")

    site.configure({"global-allowed-response-headers": allowed})
    await site.becomes(told, wanted)
    assert (await site.get("missing.example")).status == 503


@pytest.mark.parametrize(
    ("config", "accepted", "coding"),
    [
        pytest.param({}, "gzip", "", id="223-off"),
        pytest.param({"use-gzip": "true", "gzip-types": "application/json"}, "gzip", "gzip", id="223"),
        pytest.param({"use-gzip": "true", "gzip-types": "text/css"}, "gzip", "", id="223-type"),
        pytest.param(
            {"use-gzip": "true", "gzip-types": "application/json", "gzip-min-length": "100k"},
            "gzip",
            "",
            id="223-length",
        ),
        pytest.param({"enable-brotli": "true", "brotli-types": "application/json"}, "gzip, br", "br", id="224"),
    ],
)
async def test_223_compression(site: Site, config: dict[str, str], accepted: str, coding: str) -> None:
    async def coded() -> str:
        return (await get()).fields.get("content-encoding", "")

    async def get() -> Answer:
        return await site.get("a.example", fields=[("accept-encoding", accepted), ("x-long", "x" * 300)])

    site.configure(config)
    await site.becomes(coded, coding)
    answer = await get()
    body = {"": bytes, "gzip": gzip.decompress, "br": brotli.decompress}[coding](answer.body)
    assert b'"service": "echo"' in body
    assert ("accept-encoding" in answer.fields.get("vary", "").lower()) is bool(coding)


@pytest.mark.parametrize(
    ("agent", "coding"),
    [("Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", ""), ("x OldBot/1", ""), ("Mozilla/5.0", "gzip")],
)
async def test_223_clients_that_get_it_plain(site: Site, agent: str, coding: str) -> None:
    async def coded() -> tuple[str, str]:
        fields = [("accept-encoding", "gzip"), ("user-agent", agent), ("x-long", "x" * 300)]
        found = (await site.get("a.example", fields=fields)).fields
        return found.get("content-encoding", ""), found.get("vary", "").lower()

    site.configure({"use-gzip": "true", "gzip-types": "application/json", "gzip-disable": "msie6,oldbot"})
    await site.becomes(coded, (coding, "accept-encoding"))


@pytest.mark.parametrize(
    ("config", "fields", "wanted"),
    [
        pytest.param({"block-cidrs": "127.0.0.0/8"}, {}, 403, id="229-cidrs"),
        pytest.param({"block-user-agents": "~*chrome\\/68,AlphaBot"}, {"user-agent": "AlphaBot"}, 403, id="229-agent"),
        pytest.param({"block-user-agents": "~*chrome\\/68"}, {"user-agent": "x Chrome/68.0"}, 403, id="229-pattern"),
        pytest.param({"block-user-agents": "AlphaBot"}, {"user-agent": "Mozilla"}, 200, id="229-other-agent"),
        pytest.param({"block-referers": "~*example\\.com,qwerty"}, {"referer": "qwerty"}, 403, id="229-referer"),
        pytest.param({"block-referers": "qwerty"}, {"referer": "qwerty123"}, 200, id="229-other-referer"),
    ],
)
async def test_229_blocks(site: Site, config: dict[str, str], fields: dict[str, str], wanted: int) -> None:
    async def status() -> int:
        return (await site.get("a.example", fields=list(fields.items()))).status

    site.configure(config)
    await site.becomes(status, wanted)


@pytest.mark.parametrize("host", ["nobody.example", "b.example", "regex.example"])
async def test_220_what_no_rule_takes_too(site: Site, host: str) -> None:
    """Fields, HSTS and blocks are the operator's word on every answer, 404 included."""
    site.configure({"add-headers": "ops/every", "hsts": "true", "block-user-agents": "Nosy", "server-tokens": "false"})

    async def told() -> str:
        return (await site.get(host)).fields.get("x-every", "")

    await site.becomes(told, "by us")
    answer = await site.get(host, "/x", secure=True)
    assert (answer.status, answer.fields["x-client"], "server" in answer.fields) == (404, "127.0.0.1", False)
    assert answer.fields["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    assert (await site.get(host, fields=[("user-agent", "Nosy")])).status == 403
    site.configure({})
    await site.becomes(told, "")
    assert (await site.get(host)).status == 404


@pytest.mark.parametrize("path", ["/only", "/only7"])
async def test_220_rules_beside_it(site: Site, path: str) -> None:
    host = "regex.example" if path[-1] == "7" else "b.example"
    site.configure({"add-headers": "ops/every"})

    async def found() -> tuple[int, str]:
        answer = await site.get(host, path)
        return answer.status, answer.fields.get("x-every", "")

    await site.becomes(found, (200, "by us"))


@pytest.mark.parametrize(("host", "status"), [("moved.example", 301), ("tls.example", 308), ("shut.example", 403)])
async def test_220_answers_of_the_proxy_itself(site: Site, host: str, status: int) -> None:
    site.configure({"add-headers": "ops/every"})

    async def found() -> tuple[int, str, str]:
        answer = await site.get(host)
        return answer.status, answer.fields.get("x-every", ""), answer.fields.get("x-client", "")

    await site.becomes(found, (status, "by us", "127.0.0.1"))


async def test_220_redirects_beside_rules(site: Site) -> None:
    site.configure({"add-headers": "ops/every", "block-user-agents": "Nosy"})

    async def found() -> tuple[int, str, int]:
        answer, blocked = await site.get("slash.example", "/x"), [("user-agent", "Nosy")]
        return (
            answer.status,
            answer.fields.get("x-client", ""),
            (await site.get("slash.example", "/x", fields=blocked)).status,
        )

    await site.becomes(found, (301, "127.0.0.1", 403))


async def test_220_changed_fields_of_404(site: Site) -> None:
    site.configure({"add-headers": "ops/later"})
    for value in ("one", "two"):
        site.folder.write("later", [config_map("ops", "later", {"X-Later": value})])

        async def told() -> str:
            return (await site.get("nobody.example")).fields.get("x-later", "")

        await site.becomes(told, value)
    site.folder.remove("later")
