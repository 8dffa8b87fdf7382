"""Client certificates: asked for by host, judged by the request, told to endpoints."""

import asyncio
import socket
import ssl
import urllib.parse

import pytest

from ingress.proxy import ClientAuth, RouteSpec
from tests.ingress.proxy.rig import Rig, read_response, request
from tests.ingress.proxy.test_tls import client, open_tls, secure
from tests.ingress.proxy.tls_peers import Authority, Pair, load

OURS, OTHERS = Authority("Our Authority"), Authority("Another Authority")
GOOD = OURS.issue("a client")
FOREIGN = OTHERS.issue("a stranger")
EXPIRED = OURS.issue("a late client", expired=True)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def showing(pair: Pair | None, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = client(minimum_version=version, maximum_version=version)
    return load(context, pair) if pair else context


async def ask(
    port: int, pair: Pair | None, *, name: str = "shop.example", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> bytes:
    """The whole answer to a request for shop.example over a connection for `name`."""
    reader, writer = await open_tls(port, name, showing(pair, version))
    writer.write(request("/", "ssl-client-verify: SUCCESS", "Connection: close"))
    try:
        return await reader.read()
    finally:
        writer.close()


def told(r: Rig) -> dict[str, str | None]:
    got = r.endpoint.requests[-1]
    return {name: got.get(f"ssl-client-{name}") for name in ("verify", "subject-dn", "issuer-dn", "cert")}


@pytest.mark.parametrize("version", VERSIONS)
async def test_on(version: ssl.TLSVersion) -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        answer = await ask(port, None, version=version)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert b"<h1>400 No required SSL certificate was sent</h1>" in answer
        answer = await ask(port, FOREIGN, version=version)
        assert answer.startswith(b"HTTP/1.1 400 Bad Request")
        assert b"<h1>400 The SSL certificate error</h1>" in answer
        assert (await ask(port, EXPIRED, version=version)).startswith(b"HTTP/1.1 400")
        assert r.endpoint.requests == []
        assert (await ask(port, GOOD, version=version)).startswith(b"HTTP/1.1 200")
        assert told(r) == {
            "verify": "SUCCESS",
            "subject-dn": r"CN=a client,O=Wharf\, Inc",
            "issuer-dn": r"CN=Our Authority,O=Wharf\, Inc",
            "cert": None,
        }
        r.engine.set_client_auth("shop.example", None)
        assert (await ask(port, None, version=version)).startswith(b"HTTP/1.1 200")
        assert told(r)["verify"] is None
        await r.empty()


async def test_optional() -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem, verify="optional"))
        assert (await ask(port, None)).startswith(b"HTTP/1.1 200")
        assert (told(r)["verify"], told(r)["subject-dn"]) == ("NONE", None)
        assert (await ask(port, GOOD)).startswith(b"HTTP/1.1 200")
        assert told(r)["verify"] == "SUCCESS"
        assert (await ask(port, FOREIGN)).startswith(b"HTTP/1.1 400")


async def test_optional_no_ca() -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem, verify="optional_no_ca"))
        assert (await ask(port, None)).startswith(b"HTTP/1.1 200")
        assert (await ask(port, FOREIGN)).startswith(b"HTTP/1.1 200")
        assert (told(r)["verify"] or "").startswith("FAILED:unable to")
        assert told(r)["subject-dn"] == r"CN=a stranger,O=Wharf\, Inc"
        assert (await ask(port, EXPIRED)).startswith(b"HTTP/1.1 400")
        r.engine.set_client_auth("shop.example", ClientAuth(verify="optional_no_ca"))
        assert (await ask(port, FOREIGN)).startswith(b"HTTP/1.1 200")


async def test_the_certificate_itself() -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem, pass_certificate=True))
        assert (await ask(port, GOOD)).startswith(b"HTTP/1.1 200")
        sent = told(r)["cert"] or ""
        assert sent.startswith("-----BEGIN%20CERTIFICATE-----%0A")
        assert urllib.parse.unquote(sent).encode() == GOOD.pem


async def test_revoked() -> None:
    async with secure() as (r, port):
        listed = OURS.pem + OURS.revocations(GOOD)
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=listed))
        assert (await ask(port, GOOD)).startswith(b"HTTP/1.1 400")
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem + OURS.revocations(FOREIGN)))
        assert (await ask(port, GOOD)).startswith(b"HTTP/1.1 200")


async def test_another_names_connection_is_misdirected() -> None:
    """Else a client would reach the host without its certificate by asking for it on another one's connection."""
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        r.engine.set_client_auth("bank.example", ClientAuth(ca_pem=OTHERS.pem))
        assert (await ask(port, GOOD, name="other.example")).startswith(b"HTTP/1.1 421")
        assert (await ask(port, FOREIGN, name="bank.example")).startswith(b"HTTP/1.1 421")
        assert r.endpoint.requests == []
        # A host that asks for nothing does not mind.
        reader, writer = await open_tls(port, "shop.example", showing(None))
        writer.write(request("/").replace(b"shop.example", b"free.example"))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 200")
        writer.write(request("/"))
        assert (await read_response(reader))[0].startswith(b"HTTP/1.1 400")
        writer.close()


async def test_hosts_with_routes_of_their_own_say_for_themselves() -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("", ClientAuth(ca_pem=OURS.pem))
        assert (await ask(port, None)).startswith(b"HTTP/1.1 400")
        r.engine.set_host("*.example", [RouteSpec("/", False, "backend", 1)])
        assert (await ask(port, None)).startswith(b"HTTP/1.1 200")
        r.engine.set_client_auth("*.example", ClientAuth(ca_pem=OURS.pem))
        assert (await ask(port, None)).startswith(b"HTTP/1.1 400")
        r.engine.set_host("shop.example", [RouteSpec("/", False, "backend", 1)])
        assert (await ask(port, None)).startswith(b"HTTP/1.1 200")
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        assert (await ask(port, None)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("version", VERSIONS)
async def test_sessions_belong_to_what_was_asked(version: ssl.TLSVersion) -> None:
    """A session that was made without a certificate, or under another authority, is not taken up."""
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        context = showing(GOOD, version)
        assert [await resumed(port, context, "shop.example") for _ in range(2)] == [(False, b"200"), (True, b"200")]
        assert told(r)["verify"] == "SUCCESS"
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OTHERS.pem))
        assert await resumed(port, context, "shop.example") == (False, b"400")
        r.engine.set_client_auth("shop.example", None)
        context = showing(None, version)
        assert [await resumed(port, context, "shop.example") for _ in range(2)] == [(False, b"200"), (True, b"200")]
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        assert await resumed(port, context, "shop.example") == (False, b"400")


SESSIONS: dict[ssl.SSLContext, ssl.SSLSession | None] = {}


async def resumed(port: int, context: ssl.SSLContext, name: str) -> tuple[bool, bytes]:
    """Whether the session of the context's last connection was taken up, and the status."""

    def visit() -> tuple[bool, bytes]:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname=name, session=SESSIONS.get(context)) as tls,
        ):
            tls.sendall(request("/", "Connection: close"))
            got = b""
            while more := tls.recv(65536):
                got += more
            SESSIONS[context] = tls.session
            return bool(tls.session_reused), got[9:12]

    return await asyncio.to_thread(visit)


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        (ClientAuth(ca_pem=b"nonsense"), "CA certificates: no start line"),
        (ClientAuth(), "ca_pem: needed"),
        (ClientAuth(ca_pem=OURS.pem, verify="perhaps"), "verify: 'perhaps'"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_be_asked_is_told_and_changes_nothing(auth: ClientAuth, words: str) -> None:
    async with secure() as (r, port):
        r.engine.set_client_auth("shop.example", ClientAuth(ca_pem=OURS.pem))
        with pytest.raises(ValueError, match=words):
            r.engine.set_client_auth("shop.example", auth)
        assert (await ask(port, None)).startswith(b"HTTP/1.1 400")
        assert (await ask(port, GOOD)).startswith(b"HTTP/1.1 200")
