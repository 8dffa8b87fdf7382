"""What endpoints are told of where a request comes from, by the numbers in the inventory of behaviours."""

import re
from typing import Any

import pytest

from tests.ingress.peers import Client
from tests.ingress.site import ANYBODY, CONFIGURED, Site, annotated, config_map, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST = "h.example"
CLAIMS = [
    ("x-forwarded-port", "1234"),
    ("x-forwarded-proto", "myproto"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x-forwarded-host", "myhost"),
]

site = fixture_of(annotated(HOST), flags=CONFIGURED, https=True)
proxied = fixture_of(
    annotated(HOST),
    config_map("ops", "controller", {"use-proxy-protocol": "true", "use-forwarded-headers": "true"}),
    flags=CONFIGURED,
    https=True,
)


def told(sent: dict[str, str]) -> dict[str, str]:
    """The fields that say where a request comes from."""
    return {name: value for name, value in sent.items() if name.startswith("x-") and name != "x-request-id"}


async def sent(site: Site, host: str = HOST, **how: Any) -> dict[str, str]:
    return told((await site.get(host, **how)).echo["headers"])


async def test_210_what_endpoints_are_told(site: Site) -> None:
    site.configure({})
    answer = await site.get(HOST + ":81")
    headers = answer.echo["headers"]
    assert headers["host"] == HOST + ":81"
    assert told(headers) == {
        "x-real-ip": "127.0.0.1",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": HOST + ":81",
        "x-forwarded-port": str(site.served.http),
        "x-forwarded-proto": "http",
        "x-forwarded-scheme": "http",
        "x-scheme": "http",
    }
    assert (await sent(site, secure=True))["x-forwarded-proto"] == "https"


async def test_211_request_ids(site: Site) -> None:
    made = [(await site.get(HOST)).echo["headers"]["x-request-id"] for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in made)
    assert made[0] != made[1]
    kept = await site.get(HOST, fields=[("x-request-id", "mine"), ("proxy", "http://evil.example")])
    assert kept.echo["headers"]["x-request-id"] == "mine"
    assert "proxy" not in kept.echo["headers"]


@pytest.mark.parametrize(
    ("config", "claims", "wanted"),
    [
        pytest.param(
            {},
            CLAIMS,
            {
                "x-forwarded-port": "{port}",
                "x-forwarded-proto": "http",
                "x-scheme": "http",
                "x-forwarded-host": HOST,
                "x-forwarded-for": "127.0.0.1",
                "x-original-forwarded-for": "1.2.3.4",
                "x-original-forwarded-host": "myhost",
            },
            id="212",
        ),
        pytest.param(
            {"use-forwarded-headers": "true"},
            CLAIMS,
            {
                "x-forwarded-port": "1234",
                "x-forwarded-proto": "myproto",
                "x-scheme": "myproto",
                "x-forwarded-host": "myhost",
                "x-forwarded-for": "1.2.3.4",
                "x-real-ip": "1.2.3.4",
            },
            id="213",
        ),
        pytest.param(
            {"use-forwarded-headers": "true"},
            [("x-forwarded-host", "myhost.com, another.host,example.net")],
            {"x-forwarded-host": "myhost.com"},
            id="214",
        ),
        pytest.param(
            {"enable-real-ip": "true"},
            CLAIMS,
            {
                "x-forwarded-port": "{port}",
                "x-forwarded-proto": "http",
                "x-forwarded-host": HOST,
                "x-forwarded-for": "1.2.3.4",
            },
            id="215",
        ),
        pytest.param(
            {"use-forwarded-headers": "true", "compute-full-forwarded-for": "true"},
            CLAIMS,
            {"x-forwarded-for": "1.2.3.4, 127.0.0.1"},
            id="216",
        ),
        pytest.param(
            {"use-forwarded-headers": "true", "proxy-real-ip-cidr": "10.0.0.0/8"},
            CLAIMS,
            {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": HOST},
            id="218-not-of-us",
        ),
        pytest.param(
            {"use-forwarded-headers": "true", "forwarded-for-header": "X-Client"},
            [("x-client", "5.6.7.8"), ("x-forwarded-for", "1.2.3.4")],
            {"x-forwarded-for": "5.6.7.8"},
            id="213-other-field",
        ),
    ],
)
async def test_212_what_clients_claim(
    site: Site, config: dict[str, str], claims: list[tuple[str, str]], wanted: dict[str, str]
) -> None:
    expected = {name: value.format(port=site.served.http) for name, value in wanted.items()}

    async def found() -> dict[str, str | None]:
        fields = await sent(site, fields=claims)
        return {name: fields.get(name) for name in expected}

    site.configure(config)
    await site.becomes(found, expected)


@pytest.mark.parametrize(("value", "kept"), [("false", False), ("", False), ("true", True)])
async def test_212_names_that_endpoints_may_take_for_others(site: Site, value: str, kept: bool) -> None:
    """enable-underscores-in-headers: to many an endpoint X_Real_IP is X-Real-IP."""

    async def told() -> tuple[bool, bool]:
        headers = (await site.get(HOST, fields=[("x_real_ip", "1.2.3.4"), ("x-plain", "1")])).echo["headers"]
        return "x_real_ip" in headers, "x-plain" in headers

    site.configure({"enable-underscores-in-headers": value})
    await site.becomes(told, (kept, True))


async def by_proxy(site: Site, line: str, *claims: tuple[str, str], secure: bool = False) -> dict[str, str]:
    """What the endpoint is told of a request behind a PROXY header."""
    client = await Client.connect(site.served.https if secure else site.served.http)
    client.writer.write(line.encode() + b"\r\n")
    if secure:
        await client.writer.start_tls(ANYBODY, server_hostname=HOST)
    try:
        return told((await client.ask(HOST, "/", fields=claims)).echo["headers"])
    finally:
        client.close()


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234", ("192.168.0.1", "1234", "http")),
        ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", ("192.168.0.1", "443", "https")),
        ("PROXY TCP6 2001:db8::7 2001:db8::8 56324 8080", ("2001:db8::7", "8080", "http")),
    ],
)
async def test_217_proxy_headers(proxied: Site, line: str, wanted: tuple[str, str, str]) -> None:
    found = await by_proxy(proxied, line)
    assert (found["x-forwarded-for"], found["x-forwarded-port"], found["x-forwarded-proto"]) == wanted


async def test_217_before_tls(proxied: Site) -> None:
    found = await by_proxy(proxied, "PROXY TCP4 192.168.0.1 192.168.0.11 56324 1443", secure=True)
    assert (found["x-forwarded-for"], found["x-forwarded-proto"]) == ("192.168.0.1", "https")


@pytest.mark.parametrize(
    ("believed", "wanted"),
    [
        pytest.param("10.0.0.0/8", "192.168.0.1", id="outside"),
        pytest.param("192.168.0.0/24", "192.168.0.111", id="inside"),
    ],
)
async def test_218_whom_a_proxy_header_names(proxied: Site, believed: str, wanted: str) -> None:
    """Everybody's header counts; forwarded fields do if the address it names is of proxy-real-ip-cidr."""
    proxied.configure({"use-proxy-protocol": "true", "use-forwarded-headers": "true", "proxy-real-ip-cidr": believed})

    async def found() -> str:
        line = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 80"
        return (await by_proxy(proxied, line, ("x-forwarded-for", "192.168.0.111")))["x-forwarded-for"]

    await proxied.becomes(found, wanted)
    proxied.configure({"use-proxy-protocol": "true", "use-forwarded-headers": "true"})
    await proxied.becomes(found, "192.168.0.111")


async def test_218_forwarded_fields_behind_a_proxy_header(proxied: Site) -> None:
    found = await by_proxy(
        proxied, "PROXY TCP4 192.168.0.1 192.168.0.11 56324 80", ("x-forwarded-for", "192.168.0.111")
    )
    assert found["x-forwarded-for"] == "192.168.0.111"
