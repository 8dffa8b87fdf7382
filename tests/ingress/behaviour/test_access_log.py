"""Which requests get a line of the access log, by the numbers in the inventory of behaviours."""

import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.ingress.site import CONFIGURED, Site, annotated, config_map, site_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBERS = itertools.count()
OBJECTS = (annotated("a.example"), annotated("off.example", {"enable-access-log": "false"}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def logged(tmp_path_factory: Any) -> AsyncIterator[tuple[Site, Path]]:
    folder = tmp_path_factory.mktemp("logged")
    flags = (*CONFIGURED, "--access-log", str(folder / "log"), "--access-log-format", "$host $request_uri")
    async with site_of(folder / "objects", *OBJECTS, flags=flags) as site:
        yield site, folder / "log"


def written(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def lines(site: Site, path: Path, *asked: tuple[str, str]) -> list[str]:
    """What is logged of these requests, between two others that tell where they begin and end."""
    marks = [f"/mark-{next(NUMBERS)}" for _ in range(2)]
    for host, target in (("a.example", marks[0]), *asked, ("a.example", marks[1])):
        assert (await site.get(host, target)).status == 200
    first, last = (f"a.example {each}" for each in marks)

    async def done() -> bool:
        return last in written(path)

    await site.becomes(done, True)
    found = written(path)
    return found[found.index(first) + 1 : found.index(last)]


async def test_259_an_ingress_without_a_log(logged: tuple[Site, Path]) -> None:
    site, path = logged
    site.configure({})
    assert await lines(site, path, ("off.example", "/x"), ("a.example", "/x")) == ["a.example /x"]


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        pytest.param({"log-format-escape-json": "true"}, r'{"a":"say \"a\\\"","b":""}', id="259-json"),
        pytest.param({}, r'{"a":"say \x22a\x5C\x22","b":"-"}', id="259-default"),
        pytest.param({"log-format-escape-none": "true"}, r'{"a":"say "a\"","b":""}', id="259-none"),
    ],
)
async def test_259_how_values_are_written(tmp_path: Path, config: dict[str, str], wanted: str) -> None:
    text = '{"a":"$http_x_said","b":"$http_x_missing"}'
    flags = (*CONFIGURED, "--access-log", str(tmp_path / "log"))
    told = config_map("ops", "controller", {"log-format-upstream": text, **config})
    async with site_of(tmp_path / "objects", *OBJECTS, told, flags=flags) as site:
        await site.get("a.example", fields=[("x-said", r'say "a\"')])
        await site.served.until(lambda: written(tmp_path / "log"))
        assert written(tmp_path / "log") == [wanted]


@pytest.mark.parametrize(
    ("config", "targets", "wanted"),
    [
        (
            {"skip-access-log-urls": "/healthz,~^/tick"},
            ["/tick/1", "/x", "/HEALTHZ", "/healthz?x"],
            ["/x", "/healthz?x"],
        ),
        ({"skip-access-log-urls": ""}, ["/tick/1", "/healthz"], ["/tick/1", "/healthz"]),
    ],
)
async def test_259_targets_without_a_line(
    logged: tuple[Site, Path], config: dict[str, str], targets: list[str], wanted: list[str]
) -> None:
    site, path = logged
    site.configure(config)
    asked = [("a.example", each) for each in targets]

    async def found() -> list[str]:
        return await lines(site, path, *asked)

    await site.becomes(found, [f"a.example {each}" for each in wanted])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind(tmp_path_factory: Any) -> AsyncIterator[tuple[Site, Path]]:
    """With a default backend, of a Service that no Ingress names."""
    folder = tmp_path_factory.mktemp("behind")
    flags = (*CONFIGURED, "--access-log", str(folder / "log"), "--access-log-format", "$host $request_uri")
    flags += ("--default-backend-service", "shop/default")
    async with site_of(folder / "objects", *OBJECTS, flags=flags, sizes={"default": 1}) as site:
        yield site, folder / "log"


async def test_240_what_the_default_backend_gets_is_logged_if_it_is_wanted(behind: tuple[Site, Path]) -> None:
    site, path = behind
    asked = (("nobody.example", "/x"), ("a.example", "/y"))
    assert await lines(site, path, *asked) == ["a.example /y"]

    async def found() -> list[str]:
        return await lines(site, path, *asked)

    site.configure({"enable-access-log-for-default-backend": "true"})
    await site.becomes(found, ["nobody.example /x", "a.example /y"])
    site.configure({"enable-access-log-for-default-backend": "false"})
    await site.becomes(found, ["a.example /y"])


async def test_259_the_operator_wants_none(logged: tuple[Site, Path]) -> None:
    site, path = logged

    async def server() -> str:
        return (await site.get("a.example", "/unlogged")).fields.get("server", "")

    site.configure({"disable-access-log": "true", "server-tokens": "true"})
    await site.becomes(server, "causeway")
    await site.get("a.example", "/quiet")
    site.configure({})
    await site.becomes(server, "")
    assert "a.example /unlogged" in await lines(site, path, ("a.example", "/unlogged"))
    assert "a.example /quiet" not in written(path)


DOCUMENTED = """{"time": "$time_iso8601", "remote_addr": "$proxy_protocol_addr",
"x_forwarded_for": "$proxy_add_x_forwarded_for", "request_id": "$req_id", "remote_user": "$remote_user",
"bytes_sent": $bytes_sent, "request_time": $request_time, "status": $status, "vhost": "$host",
"request_proto": "$server_protocol", "path": "$uri", "request_query": "$args", "request_length": $request_length,
"duration": $request_time, "method": "$request_method", "http_referrer": "$http_referer",
"http_user_agent": "$http_user_agent"}""".replace("\n", " ")
"""ingress-nginx, docs/user-guide/nginx-configuration/log-format.md, and the keys of its example."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def telling(tmp_path_factory: Any) -> AsyncIterator[tuple[Site, Path]]:
    """With ingress-nginx's own format, until the ConfigMap has another."""
    folder = tmp_path_factory.mktemp("telling")
    objects = (
        annotated("a.example"),
        annotated("treated.example", {"proxy-read-timeout": "7"}, ("/", "Prefix", "cart")),
        annotated("main.example"),
        annotated("main.example", {"canary": "true", "canary-weight": "100"}, ("/", "Prefix", "next"), name="next"),
    )
    flags = (*CONFIGURED, "--access-log", str(folder / "log"), "--default-backend-service", "shop/last")
    async with site_of(folder / "objects", *objects, flags=flags, sizes={"last": 1}) as site:
        yield site, folder / "log"


async def line_of(site: Site, log: Path, host: str, query: str = "", **how: Any) -> str:
    """What is logged of a request for /mark-NUMBER."""
    mark = f"/mark-{next(NUMBERS)}"
    await site.get(host, mark + query, **how)

    async def found() -> list[str]:
        return [line for line in written(log) if mark in line]

    await site.until(found)
    return (await found())[0]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        ("a.example", "[shop-echo-80] []"),
        ("treated.example", "[shop-cart-80] []"),
        ("main.example", "[shop-echo-80] [shop-next-80]"),
        ("nobody.example", "[upstream-default-backend] []"),
    ],
)
async def test_259_names_of_upstreams(telling: tuple[Site, Path], host: str, wanted: str) -> None:
    site, path = telling
    site.configure({"enable-access-log-for-default-backend": "true"})

    async def logged() -> bool:
        await site.get("nobody.example")
        return any("[upstream-default-backend]" in line for line in written(path))

    await site.until(logged)
    assert wanted in await line_of(site, path, host)


async def test_259_the_documented_json(telling: tuple[Site, Path]) -> None:
    site, path = telling
    site.configure({"log-format-upstream": DOCUMENTED, "log-format-escape-json": "true"})
    agent = 'a "browser"\\'
    fields = [("user-agent", agent), ("x-forwarded-for", "1.2.3.4")]

    async def configured() -> bool:
        return (await line_of(site, path, "a.example")).startswith('{"time"')

    await site.until(configured)
    found = json.loads(await line_of(site, path, "a.example", "?q=1", fields=fields))
    assert (found["remote_addr"], found["x_forwarded_for"]) == ("", "1.2.3.4, 127.0.0.1")
    assert found["path"].startswith("/mark-")
    assert (found["request_query"], found["http_user_agent"]) == ("q=1", agent)
    assert (found["http_referrer"], found["status"], found["vhost"]) == ("", 200, "a.example")
