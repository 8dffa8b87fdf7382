"""Requests and responses through the engine, over real sockets."""

import asyncio
import hashlib
import socket
import struct

import pytest

from ingress.proxy.counted import EndpointSeen
from tests.ingress.proxy.rig import Endpoint, Request, Script, echo, read_response, request, rig


def reply(octets: bytes, close: bool = False):  # type: ignore[no-untyped-def]
    """A script that answers every request with the same octets."""

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await got.body(reader)
        writer.write(octets)
        if close:
            await writer.drain()
            writer.close()

    return script


async def test_a_request_reaches_the_endpoint_and_its_answer_the_client() -> None:
    async with rig() as r:
        got = await r.get("/a?b")
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert got.endswith(b"\r\n\r\nGET /a?b|")
        assert b"Server: causeway\r\n" in got
        assert b"Date: " in got
        assert r.endpoint.requests[0].get("x-forwarded-for") == "127.0.0.1"
        assert r.endpoint.requests[0].get("x-forwarded-port") == str(r.port)
        assert r.endpoint.requests[0].get("connection") is None
        await r.empty()


async def test_both_sides_keep_their_connections() -> None:
    async with rig() as r:
        reader, writer = await r.connect()
        for i in range(50):
            writer.write(request(f"/{i}"))
            assert (await read_response(reader))[1] == b"GET /%d|" % i
        writer.close()
        await r.empty()
        assert r.endpoint.accepted == 1
        assert r.engine.stats()["accepted"] == 1
        address = f"127.0.0.1:{r.endpoint.address[1]}"
        assert list(r.engine.seen_endpoints()) == [
            EndpointSeen(address, requests=50, failures=0, open=1, idle=1, ejected=False)
        ]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with rig() as r:
        got = await r.ask(
            b"".join(request(f"/{i}", method="POST", body=b"x" * i) for i in range(1, 200))
            + request("/last", "Connection: close")
        )
        places = [got.find(b"POST /%d|" % i + b"x" * i) for i in range(1, 200)]
        assert -1 not in places
        assert places == sorted(places)
        assert got.endswith(b"GET /last|")
        await r.empty()


async def test_pipelined_errors_do_not_pile_up_on_the_stack() -> None:
    async with rig() as r:
        r.engine.remove_host("")
        got = await r.ask(request("/") * 3000 + request("/", "Connection: close"))
        assert got.count(b"HTTP/1.1 404 Not Found") == 3001
        await r.empty()


async def test_a_long_pipeline_lets_others_have_their_turn() -> None:
    async with rig() as r:
        r.engine.remove_host("")
        with (
            socket.create_connection(("127.0.0.1", r.port)) as long,
            socket.create_connection(("127.0.0.1", r.port)) as other,
        ):
            long.sendall(request("/") * 1000)
            other.sendall(request("/"))
            other.setblocking(False)
            assert (await asyncio.get_running_loop().sock_recv(other, 4096)).startswith(b"HTTP/1.1 404")
            assert sum(r.answered.values()) < 500
            long.shutdown(socket.SHUT_WR)
            reader, writer = await asyncio.open_connection(sock=long.dup(), limit=1 << 24)
            assert (await reader.read()).count(b"HTTP/1.1 404 Not Found") == 1000
            writer.close()


@pytest.mark.parametrize("last", ["", "Connection: close"])
async def test_a_pipeline_of_errors_ends_as_it_asks(last: str) -> None:
    async with rig() as r:
        r.engine.remove_host("")
        got = await r.ask(request("/") * 31 + request("/", last or "X: 1") + b"GET / HT", half_close=True)
        assert got.count(b"HTTP/1.1 404 Not Found") == 32
        await r.empty()


@pytest.mark.parametrize("piece", [1, 2, 7, 100])
async def test_a_request_in_pieces(piece: int) -> None:
    async with rig() as r:
        octets = request("/a", method="POST", body=b"hello") + request("/b", "Connection: close")
        reader, writer = await r.connect()
        for at in range(0, len(octets), piece):
            writer.write(octets[at : at + piece])
            await writer.drain()
            await asyncio.sleep(0)
        got = await reader.read()
        assert b"POST /a|hello" in got
        assert got.endswith(b"GET /b|")
        writer.close()


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_a_response_in_pieces(piece: int) -> None:
    octets = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(octets), piece):
            writer.write(octets[at : at + piece])
            await writer.drain()
            await asyncio.sleep(0)

    async with rig(script) as r:
        got = await r.ask(request("/") + request("/", "Connection: close"))
        assert got.count(b"\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n") == 2
        assert r.endpoint.accepted == 1


async def test_bodies_both_ways() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await got.body(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    content = bytes(range(256)) * 8000
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (content[i : i + 7001] for i in range(0, 2048000, 7001)))
    async with rig(script) as r:
        for octets in (
            request("/", "Connection: close", method="POST", body=content),
            request("/", "Connection: close", "Transfer-Encoding: chunked", method="PUT") + chunks + b"0\r\n\r\n",
        ):
            got = await r.ask(octets)
            assert hashlib.sha256(got.partition(b"\r\n\r\n")[2]).digest() == hashlib.sha256(content).digest()
        await r.empty()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_responses_without_a_body_keep_the_connection(answer: bytes) -> None:
    async with rig(reply(answer)) as r:
        got = await r.ask(request("/1") + request("/2", "Connection: close"))
        assert got.count(answer.split(b"\r\n")[0]) == 2
        assert r.endpoint.accepted == 1
        await r.empty()


async def test_head_requests() -> None:
    async with rig() as r:
        got = await r.ask(request("/1", method="HEAD") + request("/22", "Connection: close"))
        head, _, rest = got.partition(b"\r\n\r\n")
        assert b"Content-Length: 8" in head
        assert rest.startswith(b"HTTP/1.1 200 OK")
        assert rest.endswith(b"GET /22|")


async def test_http_1_0_clients() -> None:
    async with rig(
        reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    ) as r:
        got = await r.ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Transfer-Encoding" not in got
        assert got.endswith(b"\r\n\r\nabcdefg")
        assert r.endpoint.requests[0].line == b"GET / HTTP/1.1"
    async with rig() as r:
        reader, writer = await r.connect()
        for _ in range(3):
            writer.write(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            head, body = await read_response(reader)
            assert b"Connection: keep-alive\r\n" in head
            assert body == b"GET /|"
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert (await reader.read()).endswith(b"GET /|")
        writer.close()


async def test_interim_responses_and_expect() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert got.get("expect") == "100-continue"
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\nConnection: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        content = await got.body(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    async with rig(script) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Expect: 100-continue", "Content-Length: 5", "Connection: close", method="POST"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        assert (await reader.read()).endswith(b"\r\n\r\nhello")
        writer.close()
        await r.empty()


async def test_hop_by_hop_fields_of_a_response_are_removed() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: 5\r\nX-Hop: 1\r\n"
        b"Proxy-Authenticate: x\r\nServer: theirs\r\nDate: theirs\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nok"
    )
    async with rig(reply(answer)) as r:
        got = await r.get()
        assert got == (
            b"HTTP/1.1 200 OK\r\nServer: theirs\r\nDate: theirs\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
            b"Content-Length: 2\r\nConnection: close\r\n\r\nok"
        )


async def test_an_early_response_ends_the_upload() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")

    async with rig(script) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 100000000", method="POST") + b"x" * 1000)
        head, body = await read_response(reader)
        assert b"413" in head
        assert b"Connection: close" in head
        assert body == b"big"
        writer.write(b"x" * 100000)  # still coming: the answer must not be lost to a reset
        assert await reader.read() == b""
        writer.close()
        await r.empty()


async def test_an_early_response_goes_on_beside_the_upload() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        writer.write(await got.body(reader))

    async with rig(script) as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Content-Length: 10", method="POST"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"0123456789")
        assert await reader.read() == b"0123456789"
        writer.close()


async def test_half_close() -> None:
    async with rig() as r:
        assert (await r.ask(request("/"), half_close=True)).endswith(b"GET /|")
        got = await r.ask(request("/1") + request("/2"), half_close=True)
        assert got.endswith(b"GET /2|")
        await r.empty()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", b"405"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", b"431"),
        (b"GET /" + b"x" * 40000, b"414"),
        (b"\x16\x03\x01 a TLS hello to a plain port", b"400"),
    ],
)
async def test_refused_requests_reach_no_endpoint_and_close(octets: bytes, status: bytes) -> None:
    async with rig() as r:
        got = await r.ask(octets + request("/smuggled"))
        assert got.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close\r\n" in got
        assert got.count(b"HTTP/1.1") == 1
        assert r.endpoint.requests == []
        await r.empty()


async def test_wrong_chunks_later_in_a_body_end_the_request() -> None:
    async with rig() as r:
        reader, writer = await r.connect()
        writer.write(request("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"5\r\nhelloX")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
        await r.empty()
        assert r.engine.stats()["upstream_connections"] == 0


@pytest.mark.parametrize("size", [8192, 60000])
async def test_long_heads_pass(size: int) -> None:
    async with rig() as r:
        got = await r.get("/", "X-Long: " + "x" * size)
        assert got.startswith(b"HTTP/1.1 200")
        assert len(r.endpoint.requests[0].get("x-long") or "") == size


async def test_status_of_what_cannot_be_routed() -> None:
    async with rig() as r:
        r.engine.set_backend("backend", [])
        assert b"503 Service Unavailable" in await r.get()
        r.engine.remove_backend("backend")
        assert b"503 Service Unavailable" in await r.get()
        r.engine.set_backend("backend", [r.endpoint.address])
        assert (await r.get()).startswith(b"HTTP/1.1 200")  # the route finds it again by its name
        r.engine.remove_backend("backend")
        r.engine.remove_host("")
        assert b"404 Not Found" in await r.get()
        r.engine.set_backend("backend", [r.endpoint.address])
        await r.empty()


@pytest.mark.parametrize("why", ["no route", "no endpoint", "answered early"])
async def test_who_is_refused_while_sending_can_read_why(why: str) -> None:
    async def early(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    async with rig(early) as r:
        if why == "no route":
            r.engine.remove_host("")
        elif why == "no endpoint":
            r.engine.set_backend("backend", [])
        reader, writer = await r.connect()
        writer.write(request("/", f"Content-Length: {8 << 20}", method="POST"))
        for _ in range(128):  # all of it is sent before anything is read
            writer.write(bytes(65536))
            await writer.drain()
        got = await reader.read()
        assert got.startswith(
            {"no route": b"HTTP/1.1 404", "no endpoint": b"HTTP/1.1 503", "answered early": b"HTTP/1.1 403"}[why]
        )
        writer.close()
        await r.empty()


async def test_ipv6_endpoints_and_clients() -> None:
    six = Endpoint()
    await six.start("::1")
    async with rig() as r:
        r.engine.set_backend("backend", [six.address])
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            r.engine.listen(listener.fileno(), tls=False, port=81)
            reader, writer = await asyncio.open_connection("::1", listener.getsockname()[1])
            writer.write(request("/6", "Connection: close"))
            assert (await reader.read()).endswith(b"GET /6|")
            writer.close()
        assert six.requests[0].get("x-forwarded-for") == "::1"
        assert six.requests[0].get("x-forwarded-port") == "81"
    assert six.server is not None
    six.server.close()


async def test_an_idle_rig_holds_nothing() -> None:
    async with rig(echo) as r:
        await asyncio.gather(*(r.get(f"/{i}") for i in range(100)))
        await r.empty()
        stats = r.engine.stats()
        assert stats["exchanges"] == 0
        assert [stats["upstream_connections"]] == [one.idle for one in r.engine.seen_endpoints()]


@pytest.mark.parametrize(
    ("method", "said", "told"),
    [
        ("OPTIONS", "5", "4"),
        ("OPTIONS", "1", "0"),
        ("OPTIONS", "010", "9"),
        ("OPTIONS", "x", "x"),
        ("OPTIONS", "-1", "-1"),
        ("OPTIONS", "99999999999", "99999999999"),
        ("GET", "0", "0"),
        ("POST", "7", "7"),
    ],
)
async def test_max_forwards_counts_for_options_only(method: str, said: str, told: str) -> None:
    async with rig() as r:
        got = await r.ask(request("/", f"max-forwards: {said}", "Connection: close", method=method))
        assert got.startswith(b"HTTP/1.1 200")
        assert r.endpoint.requests[0].get("max-forwards") == told


@pytest.mark.parametrize("said", ["0", "000"])
async def test_options_that_may_go_no_further(said: str) -> None:
    async with rig() as r:
        reader, writer = await r.connect()
        for _ in range(2):
            writer.write(request("/", f"Max-Forwards: {said}", method="OPTIONS"))
            head, body = await read_response(reader)
            answer = Request(head, 0)
            assert answer.line == b"HTTP/1.1 200 OK"
            assert "OPTIONS" in (answer.get("allow") or "")
            assert (answer.get("content-length"), body) == ("0", b"")
        writer.close()
        assert r.endpoint.requests == []


def until_close(*pieces: bytes) -> Script:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    return script


@pytest.mark.parametrize("pieces", [(), (b"x",), (b"a", b"bc", b""), (bytes(3 << 20),)], ids=["none", "1", "3", "3 MB"])
async def test_a_response_that_ends_with_its_connection_leaves_the_clients_open(pieces: tuple[bytes, ...]) -> None:
    async with rig(until_close(*pieces)) as r:
        reader, writer = await r.connect()
        for _ in range(3):
            writer.write(request())
            head, body = await read_response(reader)
            assert Request(head, 0).get("transfer-encoding") == "chunked"
            assert Request(head, 0).get("connection") is None
            assert body == b"".join(pieces)
        writer.close()
        assert r.endpoint.accepted == 3


async def test_a_piece_goes_on_as_it_comes() -> None:
    go = asyncio.Event()

    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await go.wait()
        writer.write(b"second")
        writer.close()

    async with rig(script) as r:
        reader, writer = await r.connect()
        writer.write(request())
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"first\r\n")).endswith(b"\r\n\r\n5\r\nfirst\r\n")
            go.set()
            assert await reader.readuntil(b"0\r\n\r\n") == b"6\r\nsecond\r\n0\r\n\r\n"
        writer.close()


@pytest.mark.parametrize("how", ["HTTP/1.0", "close", "HEAD"])
async def test_who_leaves_anyway_gets_it_as_it_is(how: str) -> None:
    async with rig(until_close(b"content")) as r:
        octets = {
            "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
            "close": request("/", "Connection: close"),
            "HEAD": request("/", "Connection: close", method="HEAD"),
        }[how]
        head, _, body = (await r.ask(octets)).partition(b"\r\n\r\n")
        assert body == (b"" if how == "HEAD" else b"content")
        assert b"ransfer-" not in head


async def test_an_end_that_is_none() -> None:
    seen = asyncio.Event()

    async def reset(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await seen.wait()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with rig(reset) as r:
        reader, writer = await r.connect()
        writer.write(request())
        async with asyncio.timeout(10):
            await reader.readuntil(b"4\r\nhalf\r\n")
            seen.set()
            assert await reader.read() == b""  # and not the last chunk
        writer.close()
