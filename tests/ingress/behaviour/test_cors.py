"""CORS, by the numbers in the inventory of behaviours."""

import pytest

from tests.ingress.peers import Answer
from tests.ingress.routes.annotations.test_cors import DEFAULTS
from tests.ingress.site import Site, annotated, fixture_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ON = {"enable-cors": "true"}
LISTS = {
    "cors-allow-methods": "POST, GET",
    "cors-max-age": "200",
    "cors-allow-headers": "DNT, User-Agent",
    "cors-expose-headers": "X-CustomResponseHeader, X-CustomSecondHeader",
}
ORIGINS = (
    "origin.cors.com, http://origin.cors.com:8080,, http://*.wild.com:8080 ,test://localhost,tauri://localhost:3000,"
)

site = fixture_of(
    annotated("all.example", ON),
    annotated("lists.example", {**ON, **LISTS}),
    annotated("anonymous.example", {**ON, "cors-allow-credentials": "false"}),
    annotated("origins.example", {**ON, "cors-allow-origin": ORIGINS}),
    annotated("star.example", {**ON, "cors-allow-origin": "*, http://foo.example"}),
    annotated("empty.example", {**ON, "cors-allow-origin": ""}),
    annotated("off.example", {"enable-cors": "false", "cors-allow-origin": "http://foo.example"}),
    annotated("missing.example", ON, ("/", "Prefix", "nobody")),
    annotated("gone.example", {**ON, "cors-allow-origin": "http://a.example"}, ("/", "Prefix", "nobody")),
    sizes={"nobody": 0},
)


def cors(answer: Answer) -> dict[str, str]:
    """Fields of CORS, each of which is there once."""
    found = [(name, value) for name, value in answer.lines if name.startswith("access-control-")]
    assert len(dict(found)) == len(found)
    return dict(found)


def lower(fields: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in fields.items()}


EVERYBODY = lower({"Access-Control-Allow-Origin": "*", **DEFAULTS})


@pytest.mark.parametrize(
    "host",
    [
        pytest.param("all.example", id="162"),
        pytest.param("star.example", id="171"),
        pytest.param("empty.example", id="171-empty"),
    ],
)
async def test_162_everybody_may_read_by_default(site: Site, host: str) -> None:
    assert cors(await site.get(host)) == EVERYBODY
    assert cors(await site.get(host, fields=[("origin", "http://x.example")])) == EVERYBODY


async def test_162_what_endpoints_say_gives_way(site: Site) -> None:
    fields = [("tell-access-control-allow-origin", "http://x.example"), ("tell-access-control-max-age", "1")]
    assert cors(await site.get("all.example", fields=fields)) == EVERYBODY
    assert cors(await site.get("off.example", fields=fields)) == {
        "access-control-allow-origin": "http://x.example",
        "access-control-max-age": "1",
    }


async def test_163_lists_are_told_as_they_are(site: Site) -> None:
    found = cors(await site.get("lists.example"))
    assert found == {
        "access-control-allow-origin": "*",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": LISTS["cors-allow-methods"],
        "access-control-allow-headers": LISTS["cors-allow-headers"],
        "access-control-expose-headers": LISTS["cors-expose-headers"],
        "access-control-max-age": "200",
    }


async def test_164_without_credentials(site: Site) -> None:
    wanted = {name: value for name, value in EVERYBODY.items() if "credentials" not in name}
    assert cors(await site.get("anonymous.example")) == wanted


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        pytest.param("http://origin.cors.com:8080", True, id="165"),
        pytest.param("http://other.example", False, id="166"),
        pytest.param("http://origin.cors.com", False, id="167-no-port"),
        pytest.param("http://origin.cors.com:8081", False, id="167-other-port"),
        pytest.param("origin.cors.com", False, id="168"),
        pytest.param("http://foo.wild.com:8080", True, id="169"),
        pytest.param("http://bar-foo.wild.com:8080", True, id="169-dash"),
        pytest.param("http://bar.foo.wild.com:8080", False, id="169-two-labels"),
        pytest.param("http://wild.com:8080", False, id="169-apex"),
        pytest.param("http://foo.wild.com", False, id="169-no-port"),
        pytest.param("http://originxcors.com:8080", False, id="170"),
        pytest.param("", False, id="172"),
        pytest.param("test://localhost", True, id="173"),
        pytest.param("tauri://localhost:3000", True, id="173-port"),
        pytest.param("tauri://localhost", False, id="173-no-port"),
    ],
)
async def test_165_lists_of_origins(site: Site, origin: str, found: bool) -> None:
    answer = await site.get("origins.example", fields=[("origin", origin)])
    wanted = {"access-control-allow-origin": origin, **lower(DEFAULTS)} if found else {}
    assert (answer.status, cors(answer)) == (200, wanted)
    assert answer.fields["vary"] == "Origin"


@pytest.mark.parametrize(
    ("host", "origin", "passed_on"),
    [
        ("all.example", "", False),
        ("all.example", "http://x.example", False),
        ("origins.example", "test://localhost", False),
        ("origins.example", "test://elsewhere", True),
        ("origins.example", "", True),
        ("off.example", "http://foo.example", True),
    ],
)
async def test_174_preflights(site: Site, host: str, origin: str, passed_on: bool) -> None:
    fields = [("origin", origin)] if origin else []
    answer = await site.get(host, method="OPTIONS", fields=fields)
    if passed_on:
        assert (answer.status, answer.echo["method"], cors(answer)) == (200, "OPTIONS", {})
    else:
        assert (answer.status, answer.body) == (204, b"")
        assert answer.fields["content-type"].startswith("text/plain")
        assert answer.fields["content-length"] == "0"
        assert cors(answer) == {**lower(DEFAULTS), "access-control-allow-origin": origin if host[0] == "o" else "*"}


async def test_175_errors_of_the_proxy_too(site: Site) -> None:
    answer = await site.get("missing.example")
    assert (answer.status, cors(answer)) == (503, EVERYBODY)
    answer = await site.get("gone.example", fields=[("origin", "http://a.example")])
    assert answer.status == 503
    assert cors(answer) == {**lower(DEFAULTS), "access-control-allow-origin": "http://a.example"}
