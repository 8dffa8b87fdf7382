"""What routes put into heads and take out of them without any filter; routes without a log line."""

from pathlib import Path

import pytest

from ingress.filters.api import Request
from ingress.filters.chain import Chain
from ingress.proxy import RouteOptions, RouteSpec, Settings
from tests.ingress.proxy.filtered import chain, status, values
from tests.ingress.proxy.rig import Rig, echo, read_response, request, rig, until
from tests.ingress.proxy.test_filters import answering
from tests.ingress.proxy.test_log import open_log


def route(r: Rig, options: RouteOptions, filters: Chain | None = None) -> None:
    r.engine.set_host("", [RouteSpec("/", False, "backend", 1, (), options, filters)])


async def test_edits_both_ways() -> None:
    options = RouteOptions(
        request_set=(("Host", "inner"), ("X-Scheme", "odd"), ("X-New", "1")),
        request_remove=("Cookie", "x-real-ip"),
        response_set=(("X-Frame", "DENY"), ("server", "other")),
        response_remove=("X-Powered-By",),
        response_set_secure=(("Strict-Transport-Security", "max-age=1"),),
    )
    async with rig(answering) as r:
        route(r, options)
        reader, writer = await r.connect()
        for _ in range(3):
            writer.write(request("/a", "Cookie: a", "X-New: 0"))
            head, body = await read_response(reader)
            assert body == b"ok"
            assert values(head, "x-frame") == ["DENY"]
            assert values(head, "server") == ["other"]
            assert values(head, "x-powered-by") == []
            assert values(head, "strict-transport-security") == []
            got = r.endpoint.requests[-1].head
            assert values(got, "host") == ["inner"]
            assert values(got, "x-scheme") == ["odd"]
            assert values(got, "x-new") == ["1"]
            assert values(got, "cookie") == values(got, "x-real-ip") == []
            assert values(got, "x-forwarded-for") == ["127.0.0.1"]
        writer.close()


async def test_for_those_who_speak_tls() -> None:
    options = RouteOptions(response_set=(("X-A", "1"),), response_set_secure=(("X-B", "2"),))
    settings = Settings(trusted_proxies=("127.0.0.1",), use_forwarded_headers=True)
    async with rig(settings=settings) as r:
        route(r, options)
        for scheme, expected in (("http", []), ("https", ["2"])):
            head = await r.get("/", f"X-Forwarded-Proto: {scheme}")
            assert values(head, "x-a") == ["1"]
            assert values(head, "x-b") == expected


async def test_answers_of_our_own() -> None:
    options = RouteOptions(response_set=(("X-A", "1"),), response_remove=("Server",), body_limit_bytes=5)
    async with rig() as r:
        route(r, options)
        too_long = request("/", "Connection: close", method="POST", body=b"longer")
        assert (status(got := await r.ask(too_long)), values(got, "x-a")) == (413, ["1"])
        r.engine.set_backend("backend", [])
        got = await r.get("/")
        assert (status(got), values(got, "x-a"), values(got, "server")) == (503, ["1"], [])
        assert b"<h1>503 Service Unavailable</h1>" in got
        r.engine.set_backend("backend", [("127.0.0.1", 1)])
        assert (status(got := await r.get("/")), values(got, "x-a")) == (502, ["1"])
        await r.empty()


async def test_filters_begin_with_the_edits_of_the_route() -> None:
    options = RouteOptions(response_set=(("X-A", "1"), ("X-B", "1")), request_set=(("X-C", "1"), ("X-D", "1")))
    seen: list[str | None] = []

    def edit(asked: Request) -> None:
        if asked.path == "/none":
            return
        seen.append(asked.field("x-c"))
        asked.set_response("X-A", "2")
        asked.remove("x-d")
        asked.set("X-C", "2")
        seen.append(asked.field("x-c"))
        seen.append(asked.field("x-d"))

    async with rig() as r:
        route(r, options, chain(edit))
        for path, expected in (("/", "2"), ("/none", "1"), ("/", "2")):
            head = await r.get(path)
            assert values(head, "x-a") == [expected]
            assert values(head, "x-b") == ["1"]
            got = r.endpoint.requests[-1].head
            assert values(got, "x-c") == [expected]
            assert values(got, "x-d") == ([] if expected == "2" else ["1"])
    assert seen == ["1", "2", None, "1", "2", None]


@pytest.mark.parametrize("wrong", [("X Y", "1"), ("X", "a\r\nb"), ("", "1")])
async def test_what_no_field_may_be(wrong: tuple[str, str]) -> None:
    async with rig() as r:
        with pytest.raises(ValueError, match="field"):
            route(r, RouteOptions(response_set=(wrong,)))
        assert status(await r.get("/")) == 200


async def test_routes_without_a_line_in_the_log(tmp_path: Path) -> None:
    file = tmp_path / "log"
    async with rig(settings=Settings(access_log_fd=open_log(file), access_log_format="$request_uri")) as r:
        silent = RouteOptions(log=False)

        def loud(asked: Request) -> None:
            assert asked.log is False
            asked.log = asked.query == "loud"

        r.engine.set_host(
            "",
            [
                RouteSpec("/", False, "backend", 1),
                RouteSpec("/silent", False, "backend", 2, (), silent),
                RouteSpec("/filtered", False, "backend", 3, (), silent, chain(loud)),
            ],
        )
        for path in ("/a", "/silent", "/filtered", "/filtered?loud", "/b"):
            await r.get(path)
    await until(lambda: file.read_bytes().count(b"\n") == 3)
    assert file.read_text().splitlines() == ["/a", "/filtered?loud", "/b"]


async def test_edits_outlive_their_table() -> None:
    async with rig(echo) as r:
        for number in range(50):
            route(r, RouteOptions(response_set=(("X-A", str(number)),)))
            assert values(await r.get("/"), "x-a") == [str(number)]
