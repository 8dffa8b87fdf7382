"""TLS to endpoints: verified or not, by name, with a certificate of ours, pooled, and told of when it fails."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import pytest

from ingress.proxy import BackendSpec, RouteSpec, Settings, Transport, UpstreamTls
from tests.ingress.proxy.rig import Endpoint, Rig, Script, echo, flood, hang, read_response, request, rig, until
from tests.ingress.proxy.tls_peers import Authority, Pair, server

OURS, OTHERS = Authority("Our Authority"), Authority("Another Authority")
SERVED = OURS.issue("web.internal")
MINE = OURS.issue("the proxy")


class SecureEndpoint(Endpoint):
    """An endpoint behind TLS; `names` are the server names it was asked for, `resumed` whether each session was."""

    def __init__(self, context: ssl.SSLContext, script: Script = echo) -> None:
        super().__init__(script)
        self.context = context
        self.names: list[str | None] = []
        self.resumed: list[bool] = []
        self.shown: list[bool] = []
        context.sni_callback = lambda _, name, __: self.names.append(name)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.server = await asyncio.start_server(self.serve, host, port, limit=1 << 20, ssl=self.context)
        self.address = self.server.sockets[0].getsockname()[:2]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = writer.get_extra_info("ssl_object")
        self.resumed.append(tls.session_reused)
        self.shown.append(bool(tls.getpeercert()))
        await super().serve(reader, writer)


@contextlib.asynccontextmanager
async def secured(
    tls: UpstreamTls,
    *,
    pair: Pair = SERVED,
    script: Script = echo,
    context: ssl.SSLContext | None = None,
    settings: Settings | None = None,
) -> AsyncIterator[tuple[Rig, SecureEndpoint, list[str]]]:
    """A rig whose one endpoint speaks TLS, and what the engine tells of its trouble."""
    endpoint = SecureEndpoint(context or server(pair), script)
    await endpoint.start()
    trouble: list[str] = []
    async with rig(settings=settings) as r:
        r.engine.on_trouble = trouble.append
        r.engine.set_backend("backend", [endpoint.address], by(tls))
        try:
            yield r, endpoint, trouble
        finally:
            assert endpoint.server is not None
            endpoint.server.close()


def by(tls: UpstreamTls | None) -> BackendSpec:
    return BackendSpec(transport=Transport(tls=tls))


async def test_unverified_as_a_backend_protocol_says() -> None:
    async with secured(UpstreamTls()) as (r, endpoint, trouble):
        assert (await r.get("/x")).endswith(b"GET /x|")
        assert endpoint.names == [None]
        assert trouble == []
        assert r.event("upstream_tls_failures") == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_connections_are_pooled(version: ssl.TLSVersion) -> None:
    context = server(SERVED)
    context.minimum_version = context.maximum_version = version
    async with secured(UpstreamTls(), context=context) as (r, endpoint, _):
        reader, writer = await r.connect()
        for i in range(20):
            method = "POST" if i % 2 else "GET"  # what may be sent only once looks at a pooled connection first
            writer.write(request(f"/{i}", method=method, body=b"x" * (i % 2)))
            assert (await read_response(reader))[1].startswith(method.encode())
        writer.close()
        assert endpoint.accepted == 1
        assert [one.idle for one in r.engine.seen_endpoints()] == [1]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_sessions_are_resumed(version: ssl.TLSVersion) -> None:
    context = server(SERVED)
    context.minimum_version = context.maximum_version = version
    async with secured(UpstreamTls(), context=context, settings=Settings(idle_per_endpoint=0)) as (r, endpoint, _):
        for _ in range(3):
            assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert endpoint.resumed == [False, True, True]


async def test_verified() -> None:
    tls = UpstreamTls(verify=True, ca_pem=OURS.pem, server_name="web.internal")
    async with secured(tls) as (r, endpoint, trouble):
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert endpoint.names == ["web.internal"]
        assert trouble == []


@pytest.mark.parametrize(
    ("tls", "pair", "words"),
    [
        (UpstreamTls(verify=True, ca_pem=OTHERS.pem), SERVED, "unable to get local issuer certificate"),
        (UpstreamTls(verify=True), SERVED, "unable to get local issuer certificate"),
        (UpstreamTls(verify=True, ca_pem=OURS.pem, server_name="other.internal"), SERVED, "hostname mismatch"),
        (UpstreamTls(verify=True, ca_pem=OURS.pem, server_name="10.0.0.9"), SERVED, "IP address mismatch"),
        (UpstreamTls(verify=True, ca_pem=OURS.pem), OURS.issue("web", expired=True), "certificate has expired"),
        (UpstreamTls(protocols=("TLSv1.2",), ciphers="ECDHE-RSA-AES128-GCM-SHA256"), SERVED, "TLS: "),
    ],
)
async def test_what_is_not_accepted_is_502_with_its_reason(tls: UpstreamTls, pair: Pair, words: str) -> None:
    async with secured(tls, pair=pair) as (r, endpoint, trouble):
        assert (await r.get()).startswith(b"HTTP/1.1 502")
        assert endpoint.requests == []
        assert len(trouble) == 1  # three attempts, one line
        assert trouble[0].startswith(f"endpoint 127.0.0.1:{endpoint.address[1]}: TLS: ")
        assert words in trouble[0]
        assert r.event("upstream_tls_failures") == 3
        await r.empty()


async def test_an_address_as_the_name() -> None:
    tls = UpstreamTls(verify=True, ca_pem=OURS.pem, server_name="127.0.0.1")
    async with secured(tls, pair=OURS.issue("127.0.0.1")) as (r, endpoint, _):
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert endpoint.names == [None]  # RFC 6066, 3: addresses are not sent


async def test_a_certificate_of_ours() -> None:
    context = server(SERVED)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=OURS.pem.decode())
    tls = UpstreamTls(certificate_pem=MINE.pem, key_pem=MINE.key)
    async with secured(tls, context=context) as (r, endpoint, _):
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert endpoint.shown == [True]
        r.engine.set_backend("backend", [endpoint.address], by(UpstreamTls()))
        assert (await r.get()).startswith(b"HTTP/1.1 502")


async def test_an_endpoint_that_speaks_no_tls() -> None:
    trouble: list[str] = []
    async with rig() as r:
        r.engine.on_trouble = trouble.append
        # It waits for a line that does not come, until its connection ends.
        r.endpoint.script = hang
        with socket.create_server(("127.0.0.1", 0)) as closing:
            r.engine.set_backend("backend", [closing.getsockname()], by(UpstreamTls()))
            asking = asyncio.create_task(r.get())
            loop = asyncio.get_running_loop()
            closing.setblocking(False)
            for _ in range(3):
                peer, _ = await loop.sock_accept(closing)
                peer.close()
            assert (await asking).startswith(b"HTTP/1.1 502")
        assert len(trouble) == 1
        assert "TLS" in trouble[0]


async def test_a_handshake_that_takes_too_long() -> None:
    trouble: list[str] = []
    settings = Settings(connect_seconds=0.4, attempts=1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with rig(settings=settings) as r:
            r.engine.on_trouble = trouble.append
            r.engine.set_backend("backend", [silent.getsockname()], by(UpstreamTls()))
            assert (await r.get()).startswith(b"HTTP/1.1 504")
            assert "took too long" in trouble[0]
            await r.empty()


async def test_long_bodies_both_ways() -> None:
    async with secured(UpstreamTls(), script=flood) as (r, _, _):
        assert len(await r.get("/4")) > 4 << 20
    async with secured(UpstreamTls()) as (r, _, _):
        body = bytes(range(256)) * 16384
        assert (await r.ask(request("/", "Connection: close", method="POST", body=body))).endswith(b"|" + body)


async def test_a_slow_reader_of_a_long_body() -> None:
    async with secured(UpstreamTls(), script=flood) as (r, _, _):
        reader, writer = await r.connect()
        writer.write(request("/8", "Connection: close"))
        total = 0
        while got := await reader.read(65536):
            total += len(got)
            await asyncio.sleep(0)
        assert total > 8 << 20
        writer.close()
        await r.empty()


async def test_a_restarted_endpoint() -> None:
    async with secured(UpstreamTls()) as (r, endpoint, _):
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        await endpoint.restart()
        await until(lambda: endpoint.open == 0)
        assert (await r.ask(request("/", "Connection: close", method="POST", body=b"x"))).startswith(b"HTTP/1.1 200")
        assert endpoint.accepted == 2


async def test_a_transport_is_swapped_under_a_request() -> None:
    async with secured(UpstreamTls()) as (r, endpoint, _):
        release = asyncio.Event()

        async def late(got: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

        endpoint.script = late
        asking = asyncio.create_task(r.get())
        await until(lambda: len(endpoint.requests) == 1)
        r.engine.set_backend("backend", [r.endpoint.address])
        assert (await r.get()).endswith(b"GET /|")
        release.set()
        assert (await asking).endswith(b"late")
        await until(lambda: endpoint.open == 0)  # nobody pools it any more
        # Removing a backend forgets its transport: the next one of that name is plain until told otherwise.
        r.engine.set_backend("backend", [endpoint.address], by(UpstreamTls()))
        r.engine.remove_backend("backend")
        r.engine.set_backend("backend", [r.endpoint.address])
        assert (await r.get()).endswith(b"GET /|")


async def test_one_address_two_transports() -> None:
    """A pool never mixes them: what is plain goes plainly, also to the address that another backend speaks TLS to."""
    async with secured(UpstreamTls()) as (r, endpoint, _):
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        r.engine.set_backend("plain", [endpoint.address])
        r.engine.set_host("plain.example", [RouteSpec("/", False, "plain", 2)])
        answer = await r.ask(request("/", "Connection: close").replace(b"shop.example", b"plain.example"))
        assert answer.startswith(b"HTTP/1.1 502")
        assert (await r.get()).startswith(b"HTTP/1.1 200")
        assert endpoint.accepted == 1  # the refused one never became a connection of its own
        name = f"127.0.0.1:{endpoint.address[1]}"
        assert sum(one.requests for one in r.engine.seen_endpoints() if one.address == name) >= 3


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (UpstreamTls(verify=True, ca_pem=b"nonsense"), "CA certificates: no start line"),
        (UpstreamTls(certificate_pem=MINE.pem, key_pem=SERVED.key), "key: key values mismatch"),
        (UpstreamTls(ciphers="NONSENSE"), "ciphers: no cipher match"),
        (UpstreamTls(protocols=("SSLv3",)), "TLS protocols 'SSLv3'"),
        (UpstreamTls(server_name="x" * 300), "server_name: longer"),
    ],
)
async def test_what_cannot_be_is_told_and_changes_nothing(tls: UpstreamTls, words: str) -> None:
    async with secured(UpstreamTls()) as (r, endpoint, _):
        with pytest.raises(ValueError, match=words):
            r.engine.set_backend("backend", [endpoint.address], by(tls))
        assert (await r.get()).startswith(b"HTTP/1.1 200")
