"""TLS by server name: handed through undecrypted, or ended here as usual."""

import asyncio
import socket
import ssl
import struct

import pytest

from ingress.proxy import BackendSpec, Settings, Transport
from ingress.proxy.engine import parse_client_hello, parse_proxy_header
from tests.ingress.proxy.rig import echo, flood, read_response, request, until
from tests.ingress.proxy.test_tls import client, name_of, open_tls, secure, served_name
from tests.ingress.proxy.test_upstream_tls import SecureEndpoint
from tests.ingress.proxy.tls_peers import Authority, server

POD = Authority().issue("pod.example")


def hello(name: str | None) -> bytes:
    """A real ClientHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client().wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("name", "read"), [("shop.example", b"shop.example"), ("SHOP.example", b"shop.example"), (None, b"")]
)
def test_the_name_in_a_hello(name: str | None, read: bytes) -> None:
    octets = hello(name)
    assert parse_client_hello(octets) == read
    assert parse_client_hello(octets + b"more") == read
    for cut in range(len(octets)):
        assert parse_client_hello(octets[:cut]) is None, cut


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 50])
def test_a_hello_in_many_records(size: int) -> None:
    whole = hello("shop.example")[5:]
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    octets = b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)
    assert parse_client_hello(octets) == b"shop.example"
    for cut in range(len(octets)):
        assert parse_client_hello(octets[:cut]) is None, cut


def test_what_is_no_hello() -> None:
    good = hello("shop.example")
    for bad in (
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x01\x00\x02\x01\x00",
        b"\x16\x02\x01\x00\x05",
        b"\x16\x03\x01\x00\x00",
    ):
        assert parse_client_hello(bad) is False
    assert parse_client_hello(good[:5] + b"\x02" + good[6:]) is False
    for at in range(43, len(good)):  # lengths that lie: any verdict, but none that reads too far
        parse_client_hello(good[:at] + b"\xff" + good[at + 1 :])


async def pod(script: object = echo) -> SecureEndpoint:
    endpoint = SecureEndpoint(server(POD), script)  # type: ignore[arg-type]
    await endpoint.start()
    return endpoint


async def test_other_names_are_ended_here() -> None:
    endpoint = await pod()
    async with secure() as (r, port):
        r.engine.set_backend("pods", [endpoint.address])
        r.engine.set_passthrough("pod.example", "pods")
        r.engine.set_passthrough("*.pods.example", "pods")
        for name in ("pod.example", "POD.example", "a.pods.example"):
            reader, writer = await open_tls(port, name)
            assert name_of(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)) == "pod.example"
            for i in range(3):
                writer.write(request(f"/{i}"))
                assert (await read_response(reader))[1] == b"GET /%d|" % i
            writer.close()
        for other in ("shop.example", "a.b.pods.example", "pods.example", None):
            assert await served_name(port, other) == "default.example"
        assert endpoint.names == ["pod.example", "POD.example", "a.pods.example"]
        assert endpoint.requests[0].get("x-forwarded-for") is None  # its octets are its own
        assert r.event("passed_through") == 3
        await r.empty()
        await until(lambda: endpoint.open == 0)
        r.engine.set_passthrough("pod.example", None)
        assert await served_name(port, "pod.example") == "default.example"


async def test_octet_by_octet() -> None:
    endpoint = await pod()
    async with secure() as (r, port):
        r.engine.set_backend("pods", [endpoint.address])
        r.engine.set_passthrough("pod.example", "pods")
        for name, served in (("pod.example", "pod.example"), ("shop.example", "default.example")):
            assert await slow_handshake(port, name) == served
        await r.empty()


async def slow_handshake(port: int, name: str) -> str:
    """Handshake with the ClientHello sent one octet at a time; whose certificate came."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client().wrap_bio(incoming, outgoing, server_hostname=name)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            octets = outgoing.read()
            for i in range(0, len(octets), 1):
                writer.write(octets[i : i + 1])
                await writer.drain()
                await asyncio.sleep(0)
            incoming.write(await reader.read(65536))
    der = tls.getpeercert(binary_form=True)
    writer.close()
    return name_of(der)


async def test_long_bodies() -> None:
    endpoint = await pod(flood)
    async with secure() as (r, port):
        r.engine.set_backend("pods", [endpoint.address])
        r.engine.set_passthrough("pod.example", "pods")
        reader, writer = await open_tls(port, "pod.example")
        writer.write(request("/6"))
        assert len((await read_response(reader))[1]) == 6 << 20
        writer.close()
        await r.empty()


async def test_another_endpoint_when_one_is_gone() -> None:
    endpoint = await pod()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()
    async with secure() as (r, port):
        r.engine.set_passthrough("pod.example", "pods")
        for _ in range(4):
            r.engine.set_backend("pods", [dead, endpoint.address])
            assert await served_name(port, "pod.example") == "pod.example"
        for endpoints in ([dead], []):
            r.engine.set_backend("pods", endpoints)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await served_name(port, "pod.example")
        await r.empty()


async def test_its_idle_limit() -> None:
    endpoint = await pod()
    async with secure(settings=Settings(passthrough_idle_seconds=0.6, upstream_read_seconds=0.3)) as (r, port):
        r.engine.set_backend("pods", [endpoint.address])
        r.engine.set_passthrough("pod.example", "pods")
        reader, writer = await open_tls(port, "pod.example")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await r.empty()


async def test_with_proxy_headers_in_and_out() -> None:
    """The client's address goes through, although nobody on the way can read the connection."""
    seen: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = b""
        while not parse_client_hello(got[28:]):
            got += await reader.read(65536)
        seen.put_nowait(got)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with secure(settings=Settings(trusted_proxies=("127.0.0.0/8",))) as (r, _), listening:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            r.engine.listen(listener.fileno(), tls=True, port=443, proxy_protocol=True)
            spec = BackendSpec(transport=Transport(proxy_protocol=2))
            r.engine.set_backend("pods", [listening.sockets[0].getsockname()[:2]], spec)
            r.engine.set_passthrough("pod.example", "pods")
            sent = hello("pod.example")
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.8 4000 443\r\n" + sent)
            async with asyncio.timeout(10):
                got = await seen.get()
            writer.close()
            assert parse_proxy_header(got) == (28, ("192.0.2.7", 4000, 443))
            assert got[28:] == sent
            await r.empty()


async def test_a_client_that_ends_within_its_hello() -> None:
    async with secure() as (r, port):
        r.engine.set_passthrough("pod.example", "pods")
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(hello("pod.example")[:100])
        await until(lambda: r.engine.connections == 1)
        writer.close()
        await r.empty()


async def test_a_name_is_needed() -> None:
    async with secure() as (r, _):
        with pytest.raises(ValueError, match="needs a host name"):
            r.engine.set_passthrough("", "pods")
