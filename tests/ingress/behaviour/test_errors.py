"""Who answers when a backend cannot, and whose error pages clients see, by the numbers in the inventory."""

import pytest

from tests.ingress.site import CONFIGURED, Site, annotated, config_map, fixture_of, several

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEALTHY = ("--health-check-path", "/healthz")
OWN = {"default-backend": "pages"}

site = fixture_of(
    annotated("plain.example"),
    annotated("codes.example", {"custom-http-errors": "404,418"}),
    annotated("left.example", {"custom-http-errors": "404", "disable-proxy-intercept-errors": "true"}),
    annotated("own.example", OWN | {"custom-http-errors": "503"}),
    annotated("empty.example", OWN, ("/", "Prefix", "none")),
    annotated("empty-codes.example", {"custom-http-errors": "503"}, ("/", "Prefix", "none")),
    annotated("filled.example", OWN),
    annotated("dead.example", None, ("/", "Prefix", "dead")),
    annotated("broken.example", {"default-backend": "nowhere"}, ("/", "Prefix", "none")),
    config_map("ops", "controller", {"custom-http-errors": "500,502"}),
    flags=(*CONFIGURED, "--default-backend-service", "shop/default", *HEALTHY),
    https=True,
    sizes={"none": 0, "dead": 0, "pages": 1, "default": 1},
)


def tells(status: int) -> dict[str, list[tuple[str, str]]]:
    return {"fields": [("tell-status", str(status)), ("accept", "text/x-mine"), ("x-request-id", "abc123")]}


async def test_241_the_default_backend_makes_the_page(site: Site) -> None:
    answer = await site.get("codes.example", "/gone/away?x=1", method="POST", body=b"four", **tells(404))
    assert (answer.status, answer.service) == (404, "default-0")
    assert (answer.echo["path"], answer.echo["method"], answer.echo["body_octets"]) == ("/", "GET", 0)
    headers = answer.echo["headers"]
    wanted = {
        "x-code": "404",
        "x-format": "text/x-mine",
        "x-original-uri": "/gone/away?x=1",
        "x-namespace": "shop",
        "x-ingress-name": "codes.example",
        "x-service-name": "echo",
        "x-service-port": "80",
        "x-request-id": "abc123",
        "host": "codes.example",
    }
    assert {name: headers.get(name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("host", "status", "wanted"),
    [
        pytest.param("codes.example", 418, (418, "default-0"), id="241-other"),
        pytest.param("codes.example", 403, (403, "echo"), id="242-not-listed"),
        pytest.param("codes.example", 500, (500, "echo"), id="242-list-of-its-own"),
        pytest.param("plain.example", 500, (500, "default-0"), id="242-global"),
        pytest.param("plain.example", 404, (404, "echo"), id="242-global-not-listed"),
        pytest.param("left.example", 404, (404, "echo"), id="243"),
        pytest.param("own.example", 503, (503, "pages-0"), id="245"),
        pytest.param("own.example", 500, (500, "echo"), id="245-not-listed"),
        pytest.param("filled.example", 404, (404, "echo"), id="245-no-list"),
    ],
)
async def test_242_which_responses(site: Site, host: str, status: int, wanted: tuple[int, str]) -> None:
    answer = await site.get(host, **tells(status))
    assert (answer.status, answer.service) == wanted


async def test_241_the_status_is_that_of_the_page(site: Site) -> None:
    site.folder.write("service-dead", several("dead", "127.0.0.1:1"))

    async def replaced() -> bool:
        answer = await site.get("dead.example")
        return answer.status == 200 and answer.service == "default-0" and answer.echo["headers"]["x-code"] == "502"

    await site.becomes(replaced, True)


async def test_244_a_backend_that_stands_in(site: Site) -> None:
    answer = await site.get("empty.example", "/a?b", method="POST", body=b"four", fields=[("x-request-id", "abc123")])
    assert (answer.status, answer.service) == (200, "pages-0")
    headers = answer.echo["headers"]
    assert (headers["x-code"], headers["x-service-name"], headers["x-request-id"]) == ("503", "none", "abc123")
    assert (answer.echo["path"], answer.echo["method"], answer.echo["body_octets"]) == ("/a?b", "POST", 4)
    filled = await site.get("filled.example")
    assert (filled.service, "x-code" in filled.echo["headers"]) == ("echo", False)


async def test_244_and_who_has_none(site: Site) -> None:
    assert (await site.get("empty-codes.example")).service == "default-0"
    assert (await site.get("broken.example")).status == 503
    assert "Service shop/nowhere does not exist" in site.served.log


async def test_244_it_goes_when_there_is_somebody(site: Site) -> None:
    async def answers(service: str) -> bool:
        return (await site.get("late.example")).service == service

    site.folder.write("service-late", several("late"))
    site.folder.write("late", [annotated("late.example", OWN, ("/", "Prefix", "late"))])
    await site.becomes(lambda: answers("pages-0"), True)
    site.folder.write("service-late", several("late", site.endpoints["echo"].address))
    await site.becomes(lambda: answers("echo"), True)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/demo"])
async def test_238_what_nobody_takes(site: Site, path: str, method: str, secure: bool) -> None:
    answer = await site.get("nobody.example", path, method=method, secure=secure)
    assert (answer.status, answer.service) == (200, "default-0")


async def test_239_health_of_the_default_server(site: Site) -> None:
    answer = await site.get("nobody.example", "/healthz")
    assert (answer.status, answer.body) == (200, b"")
    assert (await site.get("plain.example", "/healthz")).service == "echo"


empty = fixture_of(flags=HEALTHY, https=True)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("host", ["", "nobody.example"], ids=["without-host", "with-host"])
@pytest.mark.parametrize("path", ["/", "/demo"])
async def test_237_nothing_is_there(empty: Site, path: str, method: str, host: str, secure: bool) -> None:
    assert (await empty.get(host or "127.0.0.1", path, method=method, secure=secure)).status == 404


async def test_239_health_where_nothing_is(empty: Site) -> None:
    assert (await empty.get("127.0.0.1", "/healthz")).status == 200
