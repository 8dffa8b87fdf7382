"""TLS towards clients, by its numbers in the inventory of behaviours."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509

from tests.ingress.certificates import tls_secret
from tests.ingress.peers import Client
from tests.ingress.proxy.tls_peers import Authority, server
from tests.ingress.site import ANYBODY, CONFIGURED, CONTROLLER, Site, annotated, config_map, fixture_of, site_of
from tests.ingress.state import endpoint_slice

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAKE = "CN=Kubernetes Ingress Controller Fake Certificate,O=Acme Co"
PLAIN = {"ssl-redirect": "false"}


def secured(host: str, secret: str, hosts: list[str] | None = None, **how: Any) -> Any:
    tls = [{"hosts": hosts or [host], **({"secretName": secret} if secret else {})}]
    return annotated(host, PLAIN, tls=tls, **how)


site = fixture_of(
    tls_secret("own", "own.example"),
    tls_secret("wild", "*.wild.example"),
    tls_secret("broken", "broken.example", key_of_another=True),
    tls_secret("other", "somebody-else.example"),
    secured("own.example", "own"),
    secured("a.wild.example", "wild"),
    secured("broken.example", "broken"),
    secured("missing.example", "missing"),
    secured("uncovered.example", "other"),
    secured("nameless.example", ""),
    annotated("plain.example"),
    annotated("ciphers.example", {"ssl-ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384", **PLAIN}),
    annotated("wrong-ciphers.example", {"ssl-ciphers": "NO-SUCH-CIPHER", **PLAIN}),
    https=True,
)


async def subject(site: Site, name: str | None) -> str:
    """Of the certificate shown to a client that asks for this name, as openssl writes it."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", site.served.https, ssl=ANYBODY, server_hostname=name or "127.0.0.1"
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    del reader
    return x509.load_der_x509_certificate(der).subject.rfc4514_string()


async def test_146_secrets_come_change_and_go_without_closing_a_connection(site: Site) -> None:
    site.folder.write("late", [secured("late.example", "late")])
    await site.becomes(lambda: status(site, "late.example"), 200)
    assert await subject(site, "late.example") == FAKE
    held = await Client.connect(site.served.https, ANYBODY, "late.example")
    assert (await held.ask("late.example", "/")).status == 200
    shown = set()
    for _ in range(2):
        new = tls_secret("late", "late.example")
        site.folder.write("late-secret", [new])
        await site.becomes(lambda: is_new(site, shown), True)
        assert await subject(site, "late.example") == "CN=late.example"
    site.folder.remove("late-secret")
    await site.becomes(lambda: subject(site, "late.example"), FAKE)
    assert (await held.ask("late.example", "/")).status == 200
    held.close()


async def is_new(site: Site, shown: set[bytes]) -> bool:
    """Whether late.example shows another certificate of its own than before."""
    client = await Client.connect(site.served.https, ANYBODY, "late.example")
    der = client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    client.close()
    if "late.example" not in x509.load_der_x509_certificate(der).subject.rfc4514_string() or der in shown:
        return False
    shown.add(der)
    return True


async def status(site: Site, host: str, *, secure: bool = True) -> int:
    return (await site.get(host, secure=secure)).status


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        pytest.param("unknown.example", FAKE, id="147"),
        pytest.param(None, FAKE, id="147-no-name"),
        pytest.param("plain.example", FAKE, id="147-a-host-without-tls"),
        pytest.param("missing.example", FAKE, id="147-missing"),
        pytest.param("broken.example", FAKE, id="149"),
        pytest.param("nameless.example", FAKE, id="148-without-secret"),
        pytest.param("uncovered.example", FAKE, id="148-not-for-this-host"),
        pytest.param("own.example", "CN=own.example", id="146"),
        pytest.param("a.wild.example", "CN=*.wild.example", id="146-wildcard"),
        pytest.param("OWN.Example", "CN=own.example", id="151-upper-case"),
    ],
)
async def test_147_certificates_by_name(site: Site, name: str | None, wanted: str) -> None:
    assert await subject(site, name) == wanted


async def test_151_a_name_with_a_trailing_dot(site: Site) -> None:
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", "-connect", f"127.0.0.1:{site.served.https}", "-servername", "own.example."),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert b"CN = own.example\n" in out


@pytest.mark.parametrize("host", ["missing.example", "broken.example", "uncovered.example", "nameless.example"])
async def test_149_the_host_is_served_all_the_same(site: Site, host: str) -> None:
    assert await status(site, host) == 200
    assert await status(site, host, secure=False) == 200


async def test_150_tls_is_taken_away(site: Site) -> None:
    host = "once.example"
    tls = [{"hosts": [host], "secretName": "own"}]
    site.folder.write("once", [annotated(host, {"use-regex": "false"}, tls=tls)])
    await site.becomes(lambda: status(site, host, secure=False), 308)
    site.folder.write("once", [annotated(host, {"use-regex": "false"})])
    await site.becomes(lambda: status(site, host, secure=False), 200)


# -- a default certificate of the operator's


default = fixture_of(
    tls_secret("default", "everybody.example", namespace="ops"),
    tls_secret("own", "own.example"),
    tls_secret("other", "somebody-else.example"),
    secured("own.example", "own"),
    secured("uncovered.example", "other"),
    secured("nameless.example", ""),
    secured("missing.example", "missing"),
    flags=["--default-ssl-certificate", "ops/default"],
    https=True,
)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("unknown.example", "CN=everybody.example"),
        (None, "CN=everybody.example"),
        ("uncovered.example", "CN=everybody.example"),
        ("nameless.example", "CN=everybody.example"),
        ("missing.example", "CN=everybody.example"),
        ("own.example", "CN=own.example"),
    ],
)
async def test_148_default_certificate(default: Site, name: str | None, wanted: str) -> None:
    assert await subject(default, name) == wanted


# -- protocols and names that are refused


strict = fixture_of(
    config_map(
        *CONTROLLER.split("/"),
        {
            "ssl-protocols": "TLSv1.2",
            "ssl-ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ssl-reject-handshake": "true",
        },
    ),
    tls_secret("own", "own.example"),
    secured("own.example", "own"),
    annotated("plain.example"),
    flags=CONFIGURED,
    https=True,
)


def speaking(version: ssl.TLSVersion, ciphers: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


async def spoken(site: Site, context: ssl.SSLContext, name: str = "own.example") -> tuple[str, str]:
    """Protocol and cipher."""
    _, writer = await asyncio.open_connection("127.0.0.1", site.served.https, ssl=context, server_hostname=name)
    found = writer.get_extra_info("cipher")
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    return version, found[0]


async def test_158_protocols_and_ciphers(site: Site, strict: Site) -> None:
    assert (await spoken(site, speaking(ssl.TLSVersion.TLSv1_2)))[0] == "TLSv1.2"
    assert (await spoken(site, speaking(ssl.TLSVersion.TLSv1_3)))[0] == "TLSv1.3"
    found = await spoken(strict, speaking(ssl.TLSVersion.TLSv1_2))
    assert found == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    with pytest.raises(ssl.SSLError):
        await spoken(strict, speaking(ssl.TLSVersion.TLSv1_3))
    with pytest.raises(ssl.SSLError):
        await spoken(strict, speaking(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"))


async def test_158_ciphers_of_one_host(site: Site) -> None:
    context = speaking(ssl.TLSVersion.TLSv1_2)
    assert (await spoken(site, context, "ciphers.example"))[1] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert (await spoken(site, context, "plain.example"))[1] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    other = speaking(ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256")
    assert (await spoken(site, other, "plain.example"))[1] == "ECDHE-ECDSA-AES128-GCM-SHA256"
    with pytest.raises(ssl.SSLError):
        await spoken(site, other, "ciphers.example")
    assert (await spoken(site, speaking(ssl.TLSVersion.TLSv1_3), "ciphers.example"))[0] == "TLSv1.3"
    assert await status(site, "wrong-ciphers.example") == 200
    assert "wrong-ciphers.example: ciphers: " in site.served.log


async def test_159_names_that_nothing_is_known_of(strict: Site) -> None:
    context = speaking(ssl.TLSVersion.TLSv1_2)
    assert (await spoken(strict, context, "plain.example"))[0] == "TLSv1.2"
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        await spoken(strict, context, "unknown.example")


# -- TLS handed through


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def through(tmp_path_factory: Any) -> AsyncIterator[Site]:
    pod = Authority().issue("the pod itself")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (await reader.read(65536)).startswith(b"GET "):  # nothing from who only looks at the certificate
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\npod")
        writer.close()

    path: Path = tmp_path_factory.mktemp("through")
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server(pod)) as own:
        address = f"127.0.0.1:{own.sockets[0].getsockname()[1]}"
        found = [
            annotated("through.example", {"ssl-passthrough": "true"}, ("/", "Prefix", "pod")),
            annotated("plain.example"),
        ]
        async with site_of(path, endpoint_slice("pod", address), *found, https=True, sizes={"pod": 0}) as made:
            yield made


async def test_157_passthrough(through: Site) -> None:
    assert await subject(through, "through.example") == r"CN=the pod itself,O=Wharf\, Inc"
    answer = await through.get("through.example", secure=True)
    assert (answer.status, answer.body) == (200, b"pod")
    assert (await through.get("plain.example", secure=True)).status == 200
    assert await subject(through, "unknown.example") == FAKE
    assert (await through.get("unknown.example", secure=True)).status == 404
