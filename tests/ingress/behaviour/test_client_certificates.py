"""Client certificates, by their numbers in the inventory of behaviours."""

import base64
import ssl
from urllib.parse import unquote

import pytest

from lb.cluster.objects import Metadata, Secret
from tests.ingress.peers import Answer, ask
from tests.ingress.proxy.tls_peers import Authority, Pair, load
from tests.ingress.site import Site, annotated, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS, OTHERS = Authority("Our Authority"), Authority("Another Authority")
GOOD, CART, FOREIGN = OURS.issue("shop"), OURS.issue("cart"), OTHERS.issue("shop")
REVOKED, LATE = OURS.issue("gone"), OURS.issue("late", expired=True)


def secret(name: str, **values: bytes) -> Secret:
    data = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in values.items()}
    return Secret(metadata=Metadata(name=name, namespace="shop"), data=data)


def asks(secret: str = "shop/ours", **more: str) -> dict[str, str]:
    named = {f"auth-tls-{key.replace('_', '-')}": value for key, value in more.items()}
    return {"auth-tls-secret": secret, "ssl-redirect": "false", **named}


site = fixture_of(
    secret("ours", ca_crt=OURS.pem),
    secret("listed", ca_crt=OURS.pem, ca_crl=OURS.revocations(REVOKED)),
    secret("garbled", ca_crt=b"no certificate"),
    secret("bad-list", ca_crt=OURS.pem, ca_crl=b"no list"),
    annotated("on.example", asks()),
    annotated("on.example", {}, ("/other", "Prefix"), name="other-paths"),
    annotated("off.example", asks(verify_client="off")),
    annotated("optional.example", asks(verify_client="optional")),
    annotated("no-ca.example", asks(verify_client="optional_no_ca")),
    annotated("page.example", asks(error_page="https://www.example.com/why?x=1")),
    annotated("pass.example", asks(pass_certificate_to_upstream="true")),
    annotated("match.example", asks(match_cn="CN=shop")),
    annotated("match.example", {}, ("/other", "Prefix"), name="other-matched-paths"),
    annotated("either.example", asks(match_cn="CN=(shop|cart)", verify_client="optional")),
    annotated("no-pattern.example", asks(match_cn="CN=(shop")),
    annotated("missing.example", asks("shop/nowhere")),
    annotated("garbled.example", asks("shop/garbled")),
    annotated("listed.example", asks("shop/listed")),
    annotated("bad-list.example", asks("shop/bad-list")),
    annotated("free.example"),
    https=True,
)


def showing(pair: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return load(context, pair) if pair else context


async def get(site: Site, host: str, pair: Pair | None = None, path: str = "/", *, name: str = "") -> Answer:
    """name: of the connection, if it is another one than the host."""
    fields = [("ssl-client-verify", "SUCCESS"), ("ssl-client-subject-dn", "CN=shop"), ("ssl_client_verify", "SUCCESS")]
    return await ask(site.served.https, host, path, tls=showing(pair), name=name or host, fields=fields)


def told(answer: Answer) -> dict[str, str]:
    headers = {name.lower(): value for name, value in answer.echo["headers"].items()}
    return {name[11:]: value for name, value in headers.items() if name.startswith("ssl-client-")}


async def until(site: Site, host: str, pair: Pair, status: int) -> None:
    async def asked() -> int:
        return (await get(site, host, pair)).status

    await site.becomes(asked, status)


async def test_138_none(site: Site) -> None:
    for path in ("/", "/other", "/other/x"):
        answer = await get(site, "on.example", path=path)
        assert answer.status == 400, "also for paths of other Ingresses"
        assert b"No required SSL certificate was sent" in answer.body


async def test_139_a_good_one(site: Site) -> None:
    assert told(await get(site, "on.example", GOOD)) == {
        "verify": "SUCCESS",
        "subject-dn": r"CN=shop,O=Wharf\, Inc",
        "issuer-dn": r"CN=Our Authority,O=Wharf\, Inc",
    }


@pytest.mark.parametrize("pair", [FOREIGN, LATE], ids=["foreign", "late"])
async def test_139_a_bad_one(site: Site, pair: Pair) -> None:
    before = site.endpoints["echo"].requests
    assert (await get(site, "on.example", pair)).status == 400
    assert site.endpoints["echo"].requests == before


async def test_139_another_names_connection(site: Site) -> None:
    assert (await get(site, "on.example", GOOD, name="free.example")).status == 421
    assert (await get(site, "match.example", GOOD, name="on.example")).status == 421


async def test_140_off(site: Site) -> None:
    answer = await get(site, "off.example")
    assert answer.status == 200
    assert told(answer) == {"verify": "NONE"}, "what clients say of certificates never goes on"


async def test_141_optional(site: Site) -> None:
    assert told(await get(site, "optional.example")) == {"verify": "NONE"}
    assert told(await get(site, "optional.example", GOOD))["verify"] == "SUCCESS"
    assert (await get(site, "optional.example", FOREIGN)).status == 400


async def test_141_optional_no_ca(site: Site) -> None:
    assert told(await get(site, "no-ca.example"))["verify"] == "NONE"
    found = told(await get(site, "no-ca.example", FOREIGN))
    assert found["verify"].startswith("FAILED:unable to ")
    assert found["issuer-dn"] == r"CN=Another Authority,O=Wharf\, Inc"


@pytest.mark.parametrize("pair", [None, FOREIGN], ids=["none", "foreign"])
async def test_142_error_page(site: Site, pair: Pair | None) -> None:
    answer = await get(site, "page.example", pair)
    assert (answer.status, answer.fields["location"]) == (302, "https://www.example.com/why?x=1")
    assert (await get(site, "page.example", GOOD)).status == 200


async def test_143_the_certificate_goes_on(site: Site) -> None:
    sent = told(await get(site, "pass.example", GOOD))["cert"]
    assert sent.startswith("-----BEGIN%20CERTIFICATE-----%0A")
    assert unquote(sent).encode() == GOOD.pem
    assert "cert" not in told(await get(site, "on.example", GOOD))


async def test_144_whose_it_is(site: Site) -> None:
    for path in ("/", "/other"):
        assert (await get(site, "match.example", GOOD, path)).status == 200
        answer = await get(site, "match.example", CART, path)
        assert (answer.status, answer.body) == (403, b"client certificate unauthorized")
    assert (await get(site, "either.example", GOOD)).status == 200
    assert (await get(site, "either.example", CART)).status == 200
    assert (await get(site, "either.example")).status == 403, "who shows none is nobody"
    assert (await site.get("match.example")).status == 403, "and so is who comes without TLS"


async def test_144_edits_apply_live(site: Site) -> None:
    for pattern, status in (("CN=notvalid", 403), ("CN=shop", 200), ("CN=(cart|bank)", 403)):
        site.folder.write("live", [annotated("live.example", asks(match_cn=pattern))])
        await until(site, "live.example", GOOD, status)


@pytest.mark.parametrize("host", ["missing.example", "garbled.example", "bad-list.example", "no-pattern.example"])
async def test_145_what_is_wrong_closes(site: Site, host: str) -> None:
    assert (await get(site, host, GOOD)).status == 403
    assert (await site.get(host)).status == 403


async def test_145_revoked(site: Site) -> None:
    assert (await get(site, "listed.example", GOOD)).status == 200
    assert (await get(site, "listed.example", REVOKED)).status == 400


async def test_145_the_authority_comes_goes_and_changes(site: Site) -> None:
    site.folder.write("late", [annotated("late.example", asks("shop/late"))])

    await until(site, "late.example", GOOD, 403)
    site.folder.write("authority", [secret("late", ca_crt=OURS.pem)])
    await until(site, "late.example", GOOD, 200)
    site.folder.write("authority", [secret("late", ca_crt=OTHERS.pem)])
    await until(site, "late.example", GOOD, 400)
    assert (await get(site, "late.example", FOREIGN)).status == 200
    site.folder.remove("authority")
    await until(site, "late.example", FOREIGN, 403)


async def test_113_others_are_served(site: Site) -> None:
    assert (await get(site, "free.example")).status == 200
