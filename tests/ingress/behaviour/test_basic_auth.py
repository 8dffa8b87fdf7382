"""Basic authentication, by its numbers in the inventory of behaviours."""

import asyncio
import base64

import pytest

from lb.cluster.objects import Metadata, Secret
from tests.ingress.site import Site, annotated, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BCRYPT = "$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW"
"""Of "open sesame", as the others."""
SHA512 = (
    "$6$rounds=2000$saltsalt$jPedHngBXcBEZfTb.sMfNkhJU2jnnd52RWqoTwTF2hQKzOTJNz7NW5Tjt60cGvcuCOn8wpECtbkFrKkf6APCY0"
)
APR1 = "$apr1$zXd8tTbI$NGXvuykIlbgobRXV0nhoN0"
"""Of "foo"."""


def secret(name: str, **values: str) -> Secret:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return Secret(metadata=Metadata(name=name, namespace="shop"), data=data)


def basic(secret: str, **more: str) -> dict[str, str]:
    return {"auth-type": "basic", "auth-secret": secret, **{key.replace("_", "-"): each for key, each in more.items()}}


site = fixture_of(
    secret("file", auth=f"# all of them\nada:{BCRYPT}\nbob:{SHA512}:Bob\ncaf\u00e9:{{PLAIN}}p\u00e4ss:word\nfoo:\n"),
    secret("map", ada=BCRYPT, bob=SHA512),
    secret("empty", passwords="x"),
    annotated("none.example"),
    annotated("missing.example", basic("nowhere")),
    annotated("keyless.example", basic("empty")),
    annotated("digest.example", {**basic("file"), "auth-type": "digest"}),
    annotated("file.example", basic("file", auth_realm='Say "please"')),
    annotated("map.example", basic("shop/map", auth_secret_type="auth-map")),
    annotated("cors.example", basic("file", enable_cors="true")),
    annotated("open.example", basic("file"), ("/", "Prefix"), ("/.well-known/acme-challenge", "Prefix")),
    annotated("any.example", basic("file", satisfy="any", allowlist_source_range="10.0.0.0/8")),
    annotated("all.example", basic("file", satisfy="all", allowlist_source_range="10.0.0.0/8")),
    flags=["--use-forwarded-headers", "--trusted-proxies", "127.0.0.1/32"],
)


def by(user: str, password: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def status(site: Site, host: str, *fields: tuple[str, str], path: str = "/") -> int:
    return (await site.get(host, path, fields=fields)).status


async def test_103_no_auth(site: Site) -> None:
    assert await status(site, "none.example") == 200


@pytest.mark.parametrize("host", ["missing.example", "keyless.example", "digest.example"])
async def test_104_what_is_wrong_closes(site: Site, host: str) -> None:
    assert await status(site, host) == 503
    assert await status(site, host, by("ada", "open sesame")) == 503


async def test_105_who_says_nothing(site: Site) -> None:
    answer = await site.get("file.example")
    assert answer.status == 401
    assert answer.fields["www-authenticate"] == 'Basic realm="Say \\"please\\""'
    assert b"401 Authorization Required" in answer.body
    assert (await site.get("map.example")).fields["www-authenticate"] == 'Basic realm=""'


@pytest.mark.parametrize(
    "field",
    [
        by("ada", "open Sesame"),
        by("ada", ""),
        by("bob", "open sesame "),
        by("nobody", "open sesame"),
        by("", ""),
        by("ada", BCRYPT),
        by("foo", ""),
        ("Authorization", "Basic"),
        ("Authorization", "Basic !!!"),
        ("Authorization", "Basic " + base64.b64encode(b"ada").decode()),
        ("Authorization", "Bearer " + base64.b64encode(b"ada:open sesame").decode()),
        ("X-Authorization", by("ada", "open sesame")[1]),
    ],
)
async def test_106_who_says_something_wrong(site: Site, field: tuple[str, str]) -> None:
    before = site.endpoints["echo"].requests
    assert await status(site, "file.example", field) == 401
    assert await status(site, "file.example", field) == 401, "also by the verdict that was kept"
    assert site.endpoints["echo"].requests == before


async def test_107_with_cors(site: Site) -> None:
    answer = await site.get("cors.example")
    assert answer.status == 401
    assert answer.fields["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(
    "field",
    [
        by("ada", "open sesame"),
        by("bob", "open sesame"),
        ("authorization", by("ada", "open sesame")[1].replace("Basic ", "bAsIc   ")),
    ],
)
async def test_108_111_who_is_right_and_the_endpoint_does_not_see_it(site: Site, field: tuple[str, str]) -> None:
    for _ in range(2):
        answer = await site.get("file.example", fields=[field, ("X-Other", "1")])
        assert answer.status == 200
        assert "authorization" not in answer.echo["headers"]
        assert answer.echo["headers"]["x-other"] == "1"
    assert "authorization" in (await site.get("none.example", fields=[field])).echo["headers"]


async def test_108_names_and_passwords_beyond_ascii(site: Site) -> None:
    assert await status(site, "file.example", by("caf\u00e9", "p\u00e4ss")) == 200, "a colon ends the hash"
    assert await status(site, "file.example", by("caf\u00e9", "pass")) == 401


async def test_108_many_at_once(site: Site) -> None:
    found = await asyncio.gather(
        *(status(site, "map.example", by("ada", "open sesame" if turn % 3 else "no")) for turn in range(30))
    )
    assert found == [200 if turn % 3 else 401 for turn in range(30)]


async def test_109_map(site: Site) -> None:
    assert await status(site, "map.example", by("bob", "open sesame")) == 200
    assert await status(site, "map.example", by("foo", "open sesame")) == 401


async def test_110_a_malformed_line(site: Site) -> None:
    assert await status(site, "file.example", by("foo", "")) == 401
    assert "line 5 of auth lets nobody in: there is no hash" in site.served.log
    for told in (BCRYPT, SHA512, "open sesame", "p\u00e4ss"):
        assert told not in site.served.log


async def test_112_open_paths(site: Site) -> None:
    assert await status(site, "open.example", path="/") == 401
    assert await status(site, "open.example", path="/.well-known/acme-challenge/token") == 200
    assert await status(site, "open.example", path="/.well-known/acme-challenge/../x") == 401
    assert await status(site, "open.example", path="/x/.well-known/acme-challenge/token") == 401


async def test_113_others_are_served(site: Site) -> None:
    assert await status(site, "none.example") == 200


@pytest.mark.parametrize(
    ("host", "client", "field", "wanted"),
    [
        ("any.example", "10.0.0.1", None, 200),
        ("any.example", "11.0.0.1", None, 401),
        ("any.example", "11.0.0.1", by("ada", "open sesame"), 200),
        ("any.example", "11.0.0.1", by("ada", "?"), 401),
        ("all.example", "10.0.0.1", None, 401),
        ("all.example", "10.0.0.1", by("ada", "open sesame"), 200),
        ("all.example", "11.0.0.1", by("ada", "open sesame"), 403),
    ],
)
async def test_136_all_or_any(site: Site, host: str, client: str, field: tuple[str, str] | None, wanted: int) -> None:
    fields = [("X-Forwarded-For", client), *([field] if field else [])]
    answer = await site.get(host, fields=fields)
    assert answer.status == wanted
    if wanted == 200:
        assert "authorization" not in answer.echo["headers"]


async def test_103_secrets_are_taken_up_live(site: Site) -> None:
    live = secret("live", auth=f"ada:{APR1}")
    site.folder.write("live", [annotated("live.example", basic("live"))])
    await site.served.until_answer("live.example", "/", lambda answer: answer.status == 503)
    site.folder.write("secret", [live])
    await site.served.until_answer("live.example", "/", lambda answer: answer.status == 401)
    assert await status(site, "live.example", by("ada", "foo")) == 200
    site.folder.write("secret", [secret("live", auth=f"ada:{BCRYPT}")])
    await site.becomes(lambda: status(site, "live.example", by("ada", "foo")), 401)
    assert await status(site, "live.example", by("ada", "open sesame")) == 200
    site.folder.remove("secret")
    await site.served.until_answer("live.example", "/", lambda answer: answer.status == 503)
