"""The PROXY protocol in and out, and what it says of a client in what endpoints get."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ingress.proxy import BackendSpec, Settings, Transport
from ingress.proxy.engine import parse_proxy_header
from tests.ingress.proxy.rig import Request, Rig, read_response, request, rig, until
from tests.ingress.proxy.test_tls import certificate, client

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTING = Settings(trusted_proxies=("127.0.0.0/8",), proxy_header_seconds=0.6, client_head_seconds=5)

V1 = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234\r\n"
V1_6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"


def v2(family: int, addresses: bytes, *, command: int = 0x21, tlvs: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(addresses) + len(tlvs)) + addresses + tlvs


V2 = v2(0x11, socket.inet_aton("192.168.0.1") + socket.inet_aton("192.168.0.11") + struct.pack("!HH", 56324, 1234))
V2_6 = v2(
    0x21,
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 56324, 443),
    tlvs=b"\x04\x00\x03abc",
)
LOCAL = v2(0, b"", command=0x20)

GOOD = {
    V1: ("192.168.0.1", 56324, 1234),
    V1_6: ("2001:db8::1", 56324, 443),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n": None,
    V2: ("192.168.0.1", 56324, 1234),
    V2_6: ("2001:db8::1", 56324, 443),
    LOCAL: None,
    v2(0x31, bytes(216)): None,
}
BAD = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 1234 5\r\n",
    b"PROXY TCP4  192.168.0.1 192.168.0.11 56324 1234\r\n",
    b"PROXY TCP4 192.168.0.300 192.168.0.11 56324 1234\r\n",
    b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 1234\r\n",
    b"PROXY TCP6 192.168.0.1 192.168.0.11 56324 1234\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 65536\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 x 1234\r\n",
    b"PROXY UDP4 192.168.0.1 192.168.0.11 1 1234\r\n",
    b"PROXY TCP4 " + b"1" * 100,
    v2(0x11, b"short"),
    v2(0x11, bytes(12), command=0x11),
    v2(0x11, bytes(12), command=0x22),
    v2(0x41, bytes(12)),
    SIGNATURE + b"\x21\x11\xff\xff",
]


@pytest.mark.parametrize("header", GOOD)
def test_good_headers(header: bytes) -> None:
    assert parse_proxy_header(header + b"GET") == (len(header), GOOD[header])
    for cut in range(len(header)):
        assert parse_proxy_header(header[:cut]) is None, cut


@pytest.mark.parametrize("header", BAD)
def test_bad_headers(header: bytes) -> None:
    assert parse_proxy_header(header) is False


@contextlib.asynccontextmanager
async def proxied(settings: Settings = TRUSTING, *, tls: bool = False) -> AsyncIterator[tuple[Rig, int]]:
    async with rig(settings=settings) as r:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            r.engine.set_certificate("", *certificate("default.example"))
            r.engine.listen(listener.fileno(), tls=tls, port=80, proxy_protocol=True)
            yield r, listener.getsockname()[1]


async def send(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = writer.get_extra_info("socket")
    sent.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)  # so that pieces arrive one by one
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


ASK = request("/", "Connection: close")


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_header_names_the_client(header: bytes) -> None:
    async with proxied() as (r, port):
        assert (await send(port, header + ASK)).endswith(b"GET /|")
        got = r.endpoint.requests[0]
        assert got.get("x-forwarded-for") == got.get("x-real-ip") == "192.168.0.1"
        assert (got.get("x-forwarded-port"), got.get("x-forwarded-proto")) == ("1234", "http")
        await r.empty()


async def test_tls_that_ended_at_the_balancer() -> None:
    async with proxied() as (r, port):
        await send(port, V1_6 + ASK)
        got = r.endpoint.requests[0]
        assert got.get("x-forwarded-for") == "2001:db8::1"
        assert (got.get("x-forwarded-port"), got.get("x-forwarded-proto")) == ("443", "https")


async def test_octet_by_octet() -> None:
    async with proxied() as (r, port):
        for header in (V1, V2_6):
            octets = header + ASK
            answer = await send(port, *(octets[i : i + 1] for i in range(len(octets))))
            assert answer.endswith(b"GET /|")
        assert [got.get("x-real-ip") for got in r.endpoint.requests] == ["192.168.0.1", "2001:db8::1"]
        await r.empty()


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"], ids=["local", "unknown"])
async def test_a_balancers_own_check(header: bytes) -> None:
    async with proxied() as (r, port):
        assert (await send(port, header + ASK)).endswith(b"GET /|")
        assert r.endpoint.requests[0].get("x-real-ip") == "127.0.0.1"


async def test_strangers_are_not_believed() -> None:
    async with proxied(replace(TRUSTING, trusted_proxies=("10.0.0.0/8",))) as (r, port):
        assert (await send(port, V1 + ASK)).endswith(b"GET /|")
        got = r.endpoint.requests[0]
        assert (got.get("x-real-ip"), got.get("x-forwarded-port")) == ("127.0.0.1", "80")
    # ... unless PROXY headers are, from everywhere, as an ingress-nginx behind a load balancer has it.
    async with proxied(replace(TRUSTING, trusted_proxies=(), proxy_protocol_from=("0.0.0.0/0", "::/0"))) as (r, port):
        await send(port, V1 + ASK)
        assert r.endpoint.requests[0].get("x-real-ip") == "192.168.0.1"


async def test_forwarded_fields_behind_a_header() -> None:
    ask = request("/", "X-Forwarded-For: 192.168.0.111", "Connection: close")
    settings = replace(TRUSTING, use_forwarded_headers=True)
    async with proxied(settings) as (r, port):
        await send(port, V1 + ask)
        assert r.endpoint.requests[0].get("x-forwarded-for") == "192.168.0.1"
    async with proxied(replace(settings, trusted_proxies=("127.0.0.0/8", "192.168.0.1/32"))) as (r, port):
        await send(port, V1 + ask)
        assert r.endpoint.requests[0].get("x-forwarded-for") == "192.168.0.111"


@pytest.mark.parametrize("octets", [ASK, BAD[1] + ASK, SIGNATURE + b"\x21\x11\xff\xff" + ASK])
async def test_what_has_no_header_is_closed(octets: bytes) -> None:
    async with proxied() as (r, port):
        assert await send(port, octets) == b""
        await r.empty()
        assert r.event("bad_proxy_headers") == 1
        assert r.endpoint.requests == []


@pytest.mark.parametrize("octets", [b"", V1[:20], V2[:20]], ids=["nothing", "v1", "v2"])
async def test_a_header_has_its_time(octets: bytes) -> None:
    async with proxied() as (r, port):
        assert await send(port, octets) == b""
        await r.empty()
        assert r.event("client_timeouts") == 1


async def test_a_client_that_ends_within_its_header() -> None:
    async with proxied(replace(TRUSTING, proxy_header_seconds=60)) as (r, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(V1[:20])
        await until(lambda: r.engine.connections == 1)
        writer.close()
        await r.empty()
        assert r.event("client_timeouts") == 0


@pytest.mark.parametrize("header", [V1, V2_6], ids=["v1", "v2"])
async def test_before_tls(header: bytes) -> None:
    async with proxied(tls=True) as (r, port):
        raw = socket.create_connection(("127.0.0.1", port))
        raw.sendall(header)
        reader, writer = await asyncio.open_connection(sock=raw, ssl=client(), server_hostname="shop.example")
        writer.write(request("/"))
        assert (await read_response(reader))[1] == b"GET /|"
        writer.close()
        got = r.endpoint.requests[0]
        assert got.get("x-real-ip") in ("192.168.0.1", "2001:db8::1")
        assert got.get("x-forwarded-proto") == "https"
        await r.empty()


async def test_tls_without_its_header_is_closed() -> None:
    async with proxied(tls=True) as (r, port):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=client(), server_hostname="shop.example")
        assert r.event("bad_proxy_headers") == 1


# -- out


class Balanced:
    """An endpoint that wants a PROXY header before each connection's first request."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.headers: list[tuple[str, int, int] | None] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.version == 1:
            header = await reader.readline()
        else:
            fixed = await reader.readexactly(16)
            header = fixed + await reader.readexactly(struct.unpack("!H", fixed[14:])[0])
        length, told = parse_proxy_header(header)
        assert length == len(header)
        self.headers.append(told)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                got = Request(await reader.readuntil(b"\r\n\r\n"), 0)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                assert got.path == "/"
        writer.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_out_to_endpoints(version: int) -> None:
    balanced = Balanced(version)
    server = await asyncio.start_server(balanced.serve, "127.0.0.1", 0)
    async with proxied() as (r, port), server:
        spec = BackendSpec(transport=Transport(proxy_protocol=version))
        r.engine.set_backend("backend", [server.sockets[0].getsockname()[:2]], spec)
        reader, writer = await asyncio.open_connection("127.0.0.1", r.port)
        own = writer.get_extra_info("sockname")
        for _ in range(2):  # never over one connection: the header is one client's
            writer.write(request("/"))
            assert (await read_response(reader))[1] == b"hi"
        writer.close()
        assert balanced.headers == [(own[0], own[1], r.port)] * 2
        assert (await send(port, V1 + ASK)).endswith(b"hi")
        assert balanced.headers[2] == ("192.168.0.1", 56324, 1234)
        assert (await send(port, V1_6 + ASK)).endswith(b"hi")
        assert balanced.headers[3] == ("2001:db8::1", 56324, 443)
        await r.empty()
        r.engine.set_backend("backend", [r.endpoint.address])
        assert (await r.get()).endswith(b"GET /|")


async def test_what_version_1_says() -> None:
    """Its text: addresses as people write them, of one family."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with proxied() as (r, port), server:
        spec = BackendSpec(transport=Transport(proxy_protocol=1), attempts=1)
        r.engine.set_backend("backend", [server.sockets[0].getsockname()[:2]], spec)
        for header, expected in (
            (V1, b"PROXY TCP4 192.168.0.1 127.0.0.1 56324 1234\r\n"),
            (V1_6, b"PROXY TCP6 2001:db8::1 ::ffff:127.0.0.1 56324 443\r\n"),
        ):
            await send(port, header + ASK)
            assert await heard.get() == expected
        with pytest.raises(ValueError, match="version 1 or 2"):
            r.engine.set_backend("backend", [], BackendSpec(transport=Transport(proxy_protocol=3)))
