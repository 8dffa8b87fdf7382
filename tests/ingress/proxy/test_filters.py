"""What filters see of requests and responses and what becomes of what they say, over real sockets."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ingress.filters.api import Reply, Request, Response
from ingress.proxy import BackendSpec, Settings
from tests.ingress.proxy import rig as rigs
from tests.ingress.proxy.filtered import Verdict, chain, route, status, values
from tests.ingress.proxy.rig import echo, read_response, request, rig, until
from tests.ingress.proxy.test_log import open_log

# -- what a request says


async def test_everything_a_filter_may_ask_for() -> None:
    seen: dict[str, Any] = {}
    names = (
        "method target path query host authority version secure port client peer id content_length chunked server_name "
        "client_certificate route_id labels rule_path captures backend upstream_target pin log user alternative"
    )

    def look(asked: Request) -> None:
        seen.update({name: getattr(asked, name) for name in names.split()})
        seen["fields"] = list(asked.fields())
        seen["accept"] = asked.field("ACCEPT")
        seen["none"] = asked.field("x-none")
        seen["cookies"] = [asked.cookie(name) for name in ("a", "b", "c", "d", "e")]
        seen["endpoints"] = asked.endpoints("backend"), asked.endpoints("nobody")

    async with rig() as r:
        route(r, chain(look))
        await r.ask(
            b"POST /a%20b//c/../d?x=1?y HTTP/1.1\r\nHost: Shop.Example.:8080\r\nAccept: text/html\r\n"
            b"Cookie: a=1, 2; b=2;c=x=y\r\nCookie: d=4; a=5\r\naccept:  */* \r\nX-Raw: \xe9\r\nConnection: close\r\n"
            b"Content-Length: 3\r\n\r\nabc"
        )
        assert seen["method"] == "POST"
        assert seen["target"] == seen["upstream_target"] == "/a%20b//c/../d?x=1?y"
        assert seen["path"] == "/a b/d"
        assert seen["query"] == "x=1?y"
        assert seen["host"] == "shop.example"
        assert seen["authority"] == "Shop.Example.:8080"
        assert seen["version"] == "HTTP/1.1"
        assert seen["secure"] is False
        assert seen["port"] == r.port
        assert seen["client"] == seen["peer"] == "127.0.0.1"
        assert len(seen["id"]) == 32
        assert r.endpoint.requests[0].get("x-request-id") == seen["id"]
        assert seen["content_length"] == 3
        assert seen["chunked"] is False
        assert seen["server_name"] == ""
        assert seen["client_certificate"] is None
        assert seen["route_id"] == 7
        assert seen["labels"] == ("shop", "web", "cart", "80", "/")
        assert seen["rule_path"] == "/"
        assert seen["captures"] == ()
        assert seen["backend"] == "backend"
        assert (seen["pin"], seen["log"], seen["user"], seen["alternative"]) == ("", False, "", "")
        assert seen["accept"] == "text/html, */*"
        assert seen["none"] is None
        assert seen["cookies"] == ["1, 2", "2", "x=y", "4", None]
        assert seen["fields"][0] == ("Host", "Shop.Example.:8080")
        assert ("X-Raw", "é") in seen["fields"]
        host, port = r.endpoint.address
        assert seen["endpoints"] == ([f"{host}:{port}"], [])


async def test_a_request_of_http_1_0_without_anything() -> None:
    seen: list[Any] = []

    def look(asked: Request) -> None:
        seen.extend((asked.version, asked.host, asked.authority, asked.query, asked.content_length, asked.fields()))

    async with rig() as r:
        route(r, chain(look))
        assert status(await r.ask(b"GET / HTTP/1.0\r\n\r\n")) == 200
        assert seen == ["HTTP/1.0", "", "", "", None, []]


async def test_routes_without_filters_ask_nobody() -> None:
    asked: list[Request] = []
    async with rig() as r:
        route(r, chain(asked.append))
        await r.get("/plain")
        await r.get("/other")
        assert [each.target for each in asked] == ["/other"]


async def test_a_request_that_was_kept_says_what_it_said() -> None:
    kept: list[Request] = []
    async with rig() as r:
        route(r, chain(kept.append))
        await r.get("/a?b", "X-Some: 1")
        await r.quiet()
        old = kept[0]
        assert (old.target, old.path, old.client, old.field("x-some")) == ("/a?b", "/a", "127.0.0.1", "1")
        old.set("X-Some", "2")
        old.set_response("X-Some", "2")
        assert old.server_name == ""


# -- what it may change


async def test_edits_of_what_goes_on() -> None:
    def edit(asked: Request) -> None:
        asked.set("Host", "inner.example")
        asked.set("x-forwarded-proto", "gopher")
        asked.remove("X-Real-IP")
        asked.remove("cookie")
        asked.set("X-New", "1")
        asked.set("X-New", "2")
        asked.set("Authorization", "")
        asked.set("Content-Length", "99")
        asked.remove("Connection")
        assert asked.field("x-new") == "2"
        assert asked.field("cookie") is None
        assert asked.cookie("a") is None

    async with rig() as r:
        route(r, chain(edit))
        got = await r.ask(request("/", "Cookie: a=1", "X-New: 0", "Connection: close", method="POST", body=b"body"))
        assert got.endswith(b"POST /|body")
        head = r.endpoint.requests[0].head
        assert values(head, "host") == ["inner.example"]
        assert values(head, "x-forwarded-proto") == ["gopher"]
        assert values(head, "x-real-ip") == []
        assert values(head, "cookie") == []
        assert values(head, "x-new") == ["2"]
        assert values(head, "authorization") == [""]
        assert values(head, "x-forwarded-for") == ["127.0.0.1"]
        assert values(head, "content-length") == ["4"]


@pytest.mark.parametrize("buffering", [True, False])
@pytest.mark.parametrize("coded", [True, False], ids=["chunked", "length"])
async def test_target_and_edits_with_a_body(buffering: bool, coded: bool) -> None:
    def edit(asked: Request) -> None:
        asked.upstream_target = "/other?q=" + 3000 * "x"
        asked.set("X-Long", 5000 * "y")

    async with rig(settings=Settings(request_buffering=buffering)) as r:
        route(r, chain(edit))
        fields = ("Transfer-Encoding: chunked",) if coded else ("Content-Length: 5",)
        body = b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" if coded else b"hello"
        for cut in (0, 1, len(body) - 1, len(body)):
            reader, writer = await r.connect()
            writer.write(request("/", *fields, method="POST") + body[:cut])
            await asyncio.sleep(0)
            writer.write(body[cut:])
            _, got = await read_response(reader)
            assert got == b"POST /other?q=" + 3000 * b"x" + b"|hello"
            assert values(r.endpoint.requests[-1].head, "x-long") == [5000 * "y"]
            writer.close()


async def test_what_cannot_be_sent_is_refused() -> None:
    wrong: list[str] = []

    def edit(asked: Request) -> None:
        attempts: list[Callable[[], object]] = [
            lambda: asked.set("X", "a\r\nb"),
            lambda: asked.set("X Y", "a"),
            lambda: asked.set("", "a"),
            lambda: asked.set_response("X", "a\nb"),
            lambda: asked.add_response("X", "a\0b"),
            lambda: asked.add_response("X:", "a"),
            lambda: asked.set("X", "€"),
            lambda: setattr(asked, "upstream_target", "/a b"),
            lambda: setattr(asked, "upstream_target", "http://a/"),
            lambda: setattr(asked, "upstream_target", "/a\r\nX: y"),
        ]
        for attempt in attempts:
            with pytest.raises(ValueError, match=r"X|name|path|encode|€"):
                attempt()
            wrong.append("")

    async with rig() as r:
        route(r, chain(edit))
        assert status(await r.get("/")) == 200
        assert len(wrong) == 10


async def test_another_backend() -> None:
    async with rig(echo, echo) as r:
        r.engine.set_backend("backend", [r.endpoints[0].address])
        r.engine.set_backend("other", [r.endpoints[1].address])

        def choose(asked: Request) -> None:
            asked.backend = asked.query or "backend"
            assert asked.backend == (asked.query or "backend")

        route(r, chain(choose))
        assert status(await r.get("/")) == 200
        assert status(await r.get("/?other")) == 200
        assert status(await r.get("/?nobody")) == 503
        assert [len(each.requests) for each in r.endpoints] == [1, 1]
        r.engine.remove_backend("other")
        assert status(await r.get("/?other")) == 503


async def answering(answered: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(
        b"HTTP/1.1 201 Made So\r\nContent-Length: 2\r\nServer: inner\r\nX-Powered-By: it\r\nX-Powered-By: that\r\n"
        b"Set-Cookie: a=1\r\nDate: then\r\n\r\nok"
    )


async def test_edits_of_what_the_client_gets() -> None:
    def edit(asked: Request) -> None:
        asked.remove_response("x-powered-by")
        asked.add_response("Set-Cookie", "b=2")
        asked.set_response("Server", "ours")
        asked.set_response("X-One", "1")
        asked.set_response("Content-Length", "77")
        asked.set_response("Transfer-Encoding", "chunked")

    async with rig(answering) as r:
        route(r, chain(edit))
        head, _, body = (await r.get("/")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 201 Made So\r\n")
        assert body == b"ok"
        assert values(head, "x-powered-by") == []
        assert values(head, "set-cookie") == ["a=1", "b=2"]
        assert values(head, "server") == ["ours"]
        assert values(head, "date") == ["then"]
        assert values(head, "x-one") == ["1"]
        assert values(head, "content-length") == ["2"]
        assert values(head, "transfer-encoding") == []


async def test_edits_of_a_response_hook_and_what_it_sees() -> None:
    seen: list[Any] = []

    def look(asked: Request, got: Response) -> None:
        seen.append((got.status, got.own, got.endpoint, got.attempts, got.field("server"), got.all("x-powered-by")))
        asked.set_response("X-Status", str(got.status))
        asked.remove_response("server")

    async with rig(answering) as r:
        route(r, chain(response=look))
        head = await r.get("/")
        host, port = r.endpoint.address
        assert seen == [(201, False, f"{host}:{port}", 1, "inner", ["it", "that"])]
        assert values(head, "x-status") == ["201"]
        assert values(head, "server") == []
        r.engine.set_backend("backend", [])
        head = await r.get("/")
        assert seen[1][:4] == (503, True, "", 0)
        assert values(head, "x-status") == ["503"]
        assert values(head, "server") == []


# -- replies


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_reply(method: str) -> None:
    def answer(asked: Request) -> Reply:
        asked.set_response("X-Edit", "1")
        if asked.path == "/page":
            return Reply(403)
        if asked.path == "/moved":
            return Reply(308, (("Location", "https://x/"),))
        if asked.path == "/odd":
            return Reply(429, (("Content-Length", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=1"), ("Server", "me")))
        if asked.path == "/none":
            return Reply(204)
        return Reply(200, (("Content-Type", "text/plain"),), b"hello")

    async with rig() as r:
        route(r, chain(answer))
        reader, writer = await r.connect()

        async def ask(path: str) -> tuple[bytes, bytes]:
            writer.write(request(path, method=method))
            if method == "GET" and path != "/none":
                return await read_response(reader)
            return await reader.readuntil(b"\r\n\r\n"), b""

        head, body = await ask("/")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert values(head, "content-type") == ["text/plain"]
        assert values(head, "content-length") == ["5"]
        assert values(head, "x-edit") == ["1"]
        assert len(values(head, "date")) == len(values(head, "server")) == 1
        assert body == (b"hello" if method == "GET" else b"")
        head, body = await ask("/page")
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert values(head, "content-type") == ["text/html"]
        assert (b"<h1>403 Forbidden</h1>" in body) is (method == "GET")
        head, body = await ask("/moved")
        assert values(head, "location") == ["https://x/"]
        assert (b"308 Permanent Redirect" in body) is (method == "GET")
        head, body = await ask("/odd")
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
        assert values(head, "set-cookie") == ["a=1", "b=1"]
        assert values(head, "server") == ["me"]
        head, body = await ask("/none")
        assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert values(head, "content-length") == []
        assert values(head, "connection") == []
        assert r.endpoint.requests == []
        writer.close()
        await r.quiet()
        assert r.answered[7, 403] == 1


async def test_a_reply_before_the_body_has_come_ends_the_connection() -> None:
    async with rig() as r:
        route(r, chain(lambda asked: Reply(401)))
        got = await r.ask(request("/", "Content-Length: 100", "Expect: 100-continue", method="POST"))
        assert got.startswith(b"HTTP/1.1 401")
        assert b"\r\nConnection: close\r\n" in got
        reader, writer = await r.connect()
        for _ in range(3):  # one that came with its head does not
            writer.write(request("/", method="POST", body=b"whole"))
            head, _ = await read_response(reader)
            assert head.startswith(b"HTTP/1.1 401")
        writer.close()


async def test_a_reply_to_http_1_0() -> None:
    async with rig() as r:
        route(r, chain(lambda asked: Reply(200, (), b"x")))
        assert (await r.ask(b"GET / HTTP/1.0\r\n\r\n")).endswith(b"Connection: close\r\n\r\nx")
        reader, writer = await r.connect()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"\r\nConnection: keep-alive\r\n" in (await read_response(reader))[0]
        writer.close()


async def test_edits_apply_to_answers_for_want_of_an_endpoint() -> None:
    def edit(asked: Request) -> None:
        asked.add_response("Access-Control-Allow-Origin", "*")

    async with rig(settings=Settings(body_limit_bytes=10, attempts=1)) as r:
        route(r, chain(edit, lambda asked, got: asked.set_response("X-Seen", str(got.status))))
        r.engine.set_backend("backend", [])
        head = await r.get("/")
        assert status(head) == 503
        assert values(head, "access-control-allow-origin") == ["*"]
        assert values(head, "x-seen") == ["503"]
        head = await r.ask(request("/", "Connection: close", method="POST", body=bytes(11)))
        assert status(head) == 413
        assert values(head, "x-seen") == ["413"]
        r.engine.set_backend("backend", [("127.0.0.1", 1)])
        head = await r.get("/")
        assert status(head) == 502
        assert values(head, "x-seen") == ["502"]


# -- what goes wrong


async def test_exceptions_are_500_and_told() -> None:
    def bad(asked: Request) -> Reply:
        raise RuntimeError("broken")

    async def worse(asked: Request) -> Reply:
        await asyncio.sleep(0)
        raise RuntimeError("broken later")

    def odd(asked: Request) -> Any:
        return Reply(99)

    def response(asked: Request, got: Response) -> Any:
        raise RuntimeError("broken response")

    for filters in (chain(bad), chain(worse), chain(odd), chain(response=response)):
        async with rig() as r:
            told: list[str] = []
            r.engine.on_trouble = told.append
            asyncio.get_running_loop().set_exception_handler(lambda loop, what: None)
            route(r, filters)
            reader, writer = await r.connect()
            for _ in range(2):
                writer.write(request("/"))
                head, _ = await read_response(reader)
                assert head.startswith(b"HTTP/1.1 500")
            writer.close()
            await r.quiet()


# -- the end


async def test_finish_comes_once_for_every_request() -> None:
    ended: list[tuple[str, int]] = []

    def finish(asked: Request, status: int) -> None:
        ended.append((asked.target, status))

    def decide(asked: Request) -> Verdict:
        if asked.path == "/reply":
            return Reply(418)
        if asked.path == "/wait":
            return asyncio.get_running_loop().create_future()
        return None

    async with rig() as r:
        route(r, chain(decide, finish=finish))
        await r.get("/a")
        await r.get("/reply")
        _, writer = await r.connect()
        writer.write(request("/wait"))
        await until(lambda: r.engine.stats()["exchanges"] == 1)
        writer.transport.abort()
        await until(lambda: len(ended) == 3)
        assert ended == [("/a", 200), ("/reply", 418), ("/wait", 499)]
        _, writer = await r.connect()
        writer.write(request("/wait"))
        await until(lambda: r.engine.stats()["exchanges"] == 1)
    assert ended[3:] == [("/wait", 499)]


# -- the log


async def test_what_the_log_says(tmp_path: Path) -> None:
    def decide(asked: Request) -> None:
        assert asked.log
        asked.log = asked.path != "/silent"
        asked.user = asked.query
        asked.alternative = "shop-canary-80" if asked.path == "/canary" else ""

    text = "$remote_user|$request_uri|$proxy_alternative_upstream_name|$status|$req_id"
    file = tmp_path / "log"
    async with rig(settings=Settings(access_log_fd=open_log(file), access_log_format=text)) as r:
        route(r, chain(decide))
        for path in ("/a?ann%22", "/silent", "/canary", "/plain", "/end"):
            await r.get(path, "X-Request-ID: some", "Authorization: Basic Ym9iOng=")
    await until(lambda: file.read_bytes().count(b"\n") == 4)
    assert file.read_text().splitlines() == [
        "ann%22|/a?ann%22||200|some",
        "bob|/canary|shop-canary-80|200|some",
        "bob|/plain||200|some",
        "bob|/end||200|some",
    ]


# -- which endpoint


async def test_a_pinned_endpoint() -> None:
    async with rig(echo, echo, echo) as r:
        addresses = [f"{host}:{port}" for host, port in (each.address for each in r.endpoints)]

        def pin(asked: Request) -> None:
            asked.pin = addresses[int(asked.query)] if asked.query != "9" else "10.0.0.1:1"

        route(r, chain(pin))
        for wanted in (2, 0, 1, 1, 2):
            before = len(r.endpoints[wanted].requests)
            await r.get(f"/?{wanted}")
            assert len(r.endpoints[wanted].requests) == before + 1
        assert status(await r.get("/?9")) == 200


@pytest.mark.parametrize("again", [True, False])
async def test_retries_of_a_pinned_endpoint(again: bool) -> None:
    async def refuse(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    async with rig(refuse, echo) as r:
        spec = BackendSpec(retry_on=("http_503",), eject_after_failures=0)
        r.engine.set_backend("backend", [each.address for each in r.endpoints], spec)
        host, port = r.endpoint.address

        def pin(asked: Request) -> None:
            asked.pin = f"{host}:{port}"
            asked.pin_retries = again

        route(r, chain(pin))
        for _ in range(4):
            assert status(await r.get("/")) == (503 if again else 200)
        assert len(r.endpoint.requests) == (12 if again else 4)


async def test_a_pinned_endpoint_that_is_ejected_is_passed_over() -> None:
    async def slam(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with rig(slam, echo) as r:
        spec = BackendSpec(eject_after_failures=2, eject_seconds=60)
        r.engine.set_backend("backend", [each.address for each in r.endpoints], spec)
        host, port = r.endpoint.address
        seen: list[object] = []

        def pin(asked: Request) -> None:
            asked.pin = f"{host}:{port}"
            seen.append(len(asked.endpoints("backend")))

        route(r, chain(pin))
        for _ in range(5):
            assert status(await r.get("/")) == 200
        assert len(r.endpoint.requests) == 2
        assert seen == [2, 2, 1, 1, 1]


@pytest.mark.parametrize("algorithm", ["ring", "maglev"])
async def test_a_hash_of_the_filters(algorithm: str) -> None:
    async with rig(*[echo] * 5) as r:
        addresses = [each.address for each in r.endpoints]
        r.engine.set_backend("backend", addresses, BackendSpec(algorithm=algorithm, hash_by="filter"))

        def choose(asked: Request) -> None:
            asked.hash_key = asked.query.encode()

        route(r, chain(choose))
        for key in "abcdefg":
            for _ in range(3):
                await r.get(f"/?{key}")
        for key in "abcdefg":
            found = [n for n, each in enumerate(r.endpoints) if any(got.path == f"/?{key}" for got in each.requests)]
            assert [r.endpoints[n].address for n in found] == [addresses[found[0]]]
            host, port = addresses[found[0]]
            assert r.engine.choose("backend", key.encode()) == f"{host}:{port}"


async def test_retries_at_the_endpoint_that_a_hash_has_found() -> None:
    async def refuse(got: rigs.Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    async with rig(refuse, echo, echo) as r:
        spec = BackendSpec(algorithm="ring", hash_by="filter", retry_on=("http_503",), eject_after_failures=0)
        r.engine.set_backend("backend", [each.address for each in r.endpoints], spec)
        host, port = r.endpoint.address
        key = next(b"%d" % n for n in range(1000) if r.engine.choose("backend", b"%d" % n) == f"{host}:{port}")
        seen = []

        def choose(asked: Request) -> None:
            asked.hash_key = key
            asked.pin_retries = asked.query == "again"
            seen.append(asked.hashed(key))

        route(r, chain(choose))
        assert status(await r.get("/?again")) == 503
        assert len(r.endpoint.requests) == 3
        assert status(await r.get("/")) == 200
        assert len(r.endpoint.requests) == 4
        assert seen == [f"{host}:{port}"] * 2
