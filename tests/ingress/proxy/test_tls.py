"""TLS on the listening side: names, versions, protocols, swaps, and the same HTTP as without it."""

import asyncio
import datetime
import hashlib
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ingress.proxy import Engine, RouteSpec, Settings
from ingress.proxy.engine import TICKET_KEY_OCTETS
from tests.ingress.proxy.rig import Request, Rig, Script, echo, read_response, request, rig


def certificate(name: str) -> tuple[bytes, bytes]:
    """A self-signed one: PEM and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def client(**versions: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, version in versions.items():
        setattr(context, name, version)
    return context


def name_of(der: bytes | None) -> str:
    assert der is not None
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@asynccontextmanager
async def secure(*scripts: Script, settings: Settings | None = None) -> AsyncIterator[tuple[Rig, int]]:
    async with rig(*scripts, settings=settings) as r:
        with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
            r.engine.listen(listener.fileno(), tls=True, port=443)
            r.engine.set_certificate("", *certificate("default.example"))
            yield r, listener.getsockname()[1]


async def open_tls(
    port: int, name: str | None, context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(
        "127.0.0.1", port, ssl=context or client(), server_hostname=name or "127.0.0.1", limit=1 << 24
    )


async def served_name(port: int, name: str | None) -> str:
    _, writer = await open_tls(port, name)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return name_of(der)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_over_tls(version: ssl.TLSVersion) -> None:
    async with secure() as (r, port):
        context = client(minimum_version=version, maximum_version=version)
        context.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await open_tls(port, "shop.example", context)
        tls = writer.get_extra_info("ssl_object")
        assert tls.selected_alpn_protocol() == "http/1.1"
        assert tls.version() == version.name.replace("_", ".")
        for i in range(5):
            writer.write(request(f"/{i}"))
            assert (await read_response(reader))[1] == b"GET /%d|" % i
        writer.write(request("/last", "Connection: close"))
        assert (await reader.read()).endswith(b"GET /last|")
        writer.close()
        seen = r.endpoint.requests[0]
        assert (seen.get("x-forwarded-proto"), seen.get("x-forwarded-port")) == ("https", "443")
        assert r.event("handshakes") == 1
        await r.empty()


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["http/1.1"], "http/1.1"), (["http/1.0"], "http/1.0"), (["h2"], ""), (["acme-tls/1"], "")],
)
async def test_what_is_spoken_is_agreed_on(offered: list[str], chosen: str | None) -> None:
    """RFC 7301: a client that speaks nothing of ours is told so; "" stands for that."""
    async with secure() as (r, port):
        context = client()
        if offered:
            context.set_alpn_protocols(offered)
        if chosen == "":
            with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
                await open_tls(port, "x", context)
        else:
            reader, writer = await open_tls(port, "x", context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
            writer.write(request("/", "Connection: close"))
            assert (await reader.read()).endswith(b"GET /|")
            writer.close()
        await r.empty()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed_by_its_ticket(version: ssl.TLSVersion) -> None:
    async with secure() as (r, port):
        r.engine.set_certificate("shop.example", *certificate("shop.example"))
        context = client(minimum_version=version, maximum_version=version)

        def visit(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="shop.example", session=session) as tls,
            ):
                tls.sendall(request("/", "Connection: close"))
                while tls.recv(65536):
                    pass
                return tls.session, tls.session_reused

        session, reused = await asyncio.to_thread(visit, None)
        assert reused is False
        assert (await asyncio.to_thread(visit, session))[1] is True


def visit(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
    """One request; the session, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="shop.example", session=session) as tls,
    ):
        tls.sendall(request("/", "Connection: close"))
        while tls.recv(65536):
            pass
        return tls.session, bool(tls.session_reused)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tickets_by_shared_keys(version: ssl.TLSVersion) -> None:
    one, two, three = (os.urandom(TICKET_KEY_OCTETS) for _ in range(3))
    context = client(minimum_version=version, maximum_version=version)
    async with secure() as (first, port), secure() as (second, other_port):
        first.engine.set_ticket_keys([one, two])
        second.engine.set_ticket_keys([two, one])
        session, reused = await asyncio.to_thread(visit, port, context, None)
        assert reused is False
        newer, reused = await asyncio.to_thread(visit, other_port, context, session)
        assert reused is True
        assert second.event("resumptions") == 1
        # Rotated: what was made by a key that is still there is read, by one that is gone it is not.
        first.engine.set_ticket_keys([three, two])
        assert (await asyncio.to_thread(visit, port, context, newer))[1] is True
        assert (await asyncio.to_thread(visit, port, context, session))[1] is False
        first.engine.set_ticket_keys([])
        _, reused = await asyncio.to_thread(visit, port, context, newer)
        assert reused is False
        with pytest.raises(ValueError, match="80 octets"):
            first.engine.set_ticket_keys([b"short"])


async def test_without_tickets() -> None:
    async with secure(settings=Settings(tls_session_tickets=False)) as (_, port):
        context = client()
        session, _ = await asyncio.to_thread(visit, port, context, None)
        assert (await asyncio.to_thread(visit, port, context, session))[1] is False


@pytest.mark.parametrize(
    ("settings", "version", "cipher"),
    [
        (Settings(tls_protocols=("TLSv1.2",)), "TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (Settings(tls_protocols=("TLSv1.3",)), "TLSv1.3", None),
        (
            Settings(tls_protocols=("TLSv1.2",), tls_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384"),
            "TLSv1.2",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ],
)
async def test_protocols_and_ciphers(settings: Settings, version: str, cipher: str | None) -> None:
    async with secure(settings=settings) as (_, port):
        _, writer = await open_tls(port, "shop.example")
        name, spoken, _ = writer.get_extra_info("ssl_object").cipher()
        assert writer.get_extra_info("ssl_object").version() == version
        assert cipher in (None, name)
        assert spoken
        writer.close()


@pytest.mark.parametrize("settings", [Settings(tls_ciphers="NONSENSE"), Settings(tls_protocols=("SSLv3",))])
async def test_tls_settings_that_cannot_be(settings: Settings) -> None:
    with pytest.raises(ValueError, match=r"tls_ciphers: no cipher match|TLS protocols 'SSLv3'"):
        Engine(settings, asyncio.get_running_loop())


@pytest.mark.parametrize("name", ["SHOP.Example", "shop.example.", "SHOP.EXAMPLE."])
async def test_names_as_some_clients_spell_them(name: str) -> None:
    async with secure() as (r, port):
        r.engine.set_certificate("shop.example", *certificate("shop.example"))
        process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert b"CN = shop.example\n" in out


async def test_tls_1_1_is_refused() -> None:
    async with secure() as (r, port):
        with pytest.deprecated_call():
            context = client(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await open_tls(port, "x", context)
        await r.empty()
        assert r.event("handshake_failures") == 1


async def test_certificates_by_name() -> None:
    async with secure() as (r, port):
        for host in ("shop.example", "*.shop.example"):
            r.engine.set_certificate(host, *certificate(host))
        assert await served_name(port, "shop.example") == "shop.example"
        assert await served_name(port, "SHOP.example") == "shop.example"
        assert await served_name(port, "a.shop.example") == "*.shop.example"
        assert await served_name(port, "a.b.shop.example") == "default.example"
        assert await served_name(port, "other.example") == "default.example"
        assert await served_name(port, None) == "default.example"
        r.engine.remove_certificate("shop.example")
        assert await served_name(port, "shop.example") == "default.example"


async def test_names_that_nothing_is_known_of_may_be_refused() -> None:
    async with secure(settings=Settings(tls_reject_unknown=True)) as (r, port):
        r.engine.set_certificate("a.example", *certificate("a.example"))
        for host in ("routed.example", "*.wild.example"):
            r.engine.set_host(host, [RouteSpec("/", False, "backend", 1)])
        assert await served_name(port, "a.example") == "a.example"
        for name in ("routed.example", "x.wild.example"):
            assert await served_name(port, name) == "default.example"
        for unknown in ("other.example", "x.y.wild.example", None):
            with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
                await open_tls(port, unknown)


async def test_a_swap_drops_no_connection() -> None:
    async with secure() as (r, port):
        reader, writer = await open_tls(port, "shop.example")
        for i in range(20):
            r.engine.set_certificate("", *certificate(f"{i}.example"))
            writer.write(request(f"/{i}"))
            assert (await read_response(reader))[1] == b"GET /%d|" % i
        r.engine.remove_certificate("")
        writer.write(request("/last"))
        assert (await read_response(reader))[1] == b"GET /last|"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await served_name(port, "shop.example")
        writer.close()
        await r.empty()


@pytest.mark.parametrize("broken", ["certificate", "key", "pair", "empty"])
async def test_a_wrong_certificate_is_told_and_changes_nothing(broken: str) -> None:
    good, other = certificate("good.example"), certificate("other.example")
    pem, key = {
        "certificate": (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", good[1]),
        "key": (good[0], b"nonsense"),
        "pair": (good[0], other[1]),
        "empty": (b"", b""),
    }[broken]
    async with secure() as (r, port):
        with pytest.raises(ValueError, match=r"certificate: |key: "):
            r.engine.set_certificate("", pem, key)
        assert await served_name(port, "x.example") == "default.example"


async def test_bodies_both_ways_over_tls() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await got.body(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    content = bytes(range(256)) * 40000
    async with secure(script) as (r, port):
        reader, writer = await open_tls(port, "x")
        for _ in range(3):
            writer.write(request("/", method="POST", body=content))
            _, body = await read_response(reader)
            assert hashlib.sha256(body).digest() == hashlib.sha256(content).digest()
        writer.close()
        await r.empty()


async def test_pipelining_over_tls() -> None:
    async with secure() as (r, port):
        reader, writer = await open_tls(port, "x")
        writer.write(
            b"".join(request(f"/{i}", method="POST", body=b"x" * 3000) for i in range(100))
            + request("/", "Connection: close")
        )
        got = await reader.read()
        assert got.count(b"HTTP/1.1 200 OK") == 101
        writer.close()
        await r.empty()


async def test_a_long_pipeline_of_errors_over_tls() -> None:
    async with secure() as (r, port):
        r.engine.remove_host("")
        reader, writer = await open_tls(port, "x")
        writer.write(request("/") * 3000 + request("/", "Connection: close"))
        assert (await reader.read()).count(b"HTTP/1.1 404 Not Found") == 3001
        writer.close()
        await r.empty()


async def test_an_upload_in_records_larger_than_the_read_buffer() -> None:
    async with secure(settings=Settings(read_buffer_bytes=4096)) as (r, port):
        reader, writer = await open_tls(port, "x")
        for _ in range(5):
            writer.write(request("/", method="POST", body=b"y" * 16000))
            assert (await read_response(reader))[1].endswith(b"y" * 16000)
        writer.close()
        await r.empty()


@pytest.mark.parametrize("octets", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01"])
async def test_what_is_no_handshake_is_closed(octets: bytes) -> None:
    async with secure(settings=Settings(client_head_seconds=0.6)) as (r, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        async with asyncio.timeout(5):
            got = await reader.read()
        assert got.startswith(b"HTTP/1.1 400") is octets.startswith(b"GET")
        writer.close()
        await r.empty()


async def test_a_slow_reader_over_tls() -> None:
    async def script(got: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (20 << 20) + bytes(20 << 20))

    async with secure(script) as (r, port):
        reader, writer = await open_tls(port, "x")
        reader._limit = 65536  # type: ignore[attr-defined]
        writer.write(request("/", "Connection: close"))
        await reader.readuntil(b"\r\n\r\n")
        left = 20 << 20
        while left:
            await asyncio.sleep(0)
            left -= len(await reader.read(1 << 20))
        writer.close()
        await r.empty()


async def test_echo_script_is_reached_by_both_listeners() -> None:
    async with secure(echo) as (r, port):
        reader, writer = await open_tls(port, "x")
        writer.write(request("/tls", "Connection: close"))
        assert (await reader.read()).endswith(b"GET /tls|")
        writer.close()
        assert (await r.get("/plain")).endswith(b"GET /plain|")
        assert [one.get("x-forwarded-proto") for one in r.endpoint.requests] == ["https", "http"]
