"""HTTPS by the Secrets of the Ingresses, chosen by SNI and changed while it runs."""

import asyncio
import os
import signal
import socket
import ssl
from pathlib import Path

import pytest

from ingress.routes.certificates import read_pair
from lb.cluster.objects import Secret
from tests.ingress.certificates import tls_secret
from tests.ingress.peers import Client, ask, endpoints
from tests.ingress.proxy.tls_peers import Authority, server
from tests.ingress.serving import Folder, serving
from tests.ingress.state import ingress, service


def trusting(secret: Secret) -> ssl.SSLContext:
    """A client that trusts this certificate and no other."""
    return ssl.create_default_context(cadata=read_pair(secret)[0].decode())


async def test_certificates_by_name(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    rules: dict[str, list[tuple[str, str | None, str]]] = {
        "a.example": [("/", "Prefix", "web")],
        "x.wild.example": [("/", "Prefix", "web")],
    }
    tls = [{"hosts": ["a.example"], "secretName": "a"}, {"hosts": ["*.wild.example"], "secretName": "wild"}]
    mine, wild, newer = tls_secret("a", "a.example"), tls_secret("wild", "*.wild.example"), tls_secret("a", "a.example")
    async with endpoints("web") as (web,):
        folder.write("web", [ingress("web", rules, tls=tls), *service("web", web.address)])
        folder.write("secrets", [mine, wild])
        async with serving("-f", str(tmp_path), "--https", "127.0.0.1:0", "--workers", "2") as running:
            answer = await ask(running.https, "a.example", tls=trusting(mine), name="a.example")
            assert (answer.status, answer.service) == (200, "web")
            assert answer.echo["headers"]["x-forwarded-proto"] == "https"
            assert answer.echo["headers"]["x-forwarded-port"] == str(running.https)
            answer = await ask(running.https, "x.wild.example", tls=trusting(wild), name="x.wild.example")
            assert answer.service == "web"
            # SNI chooses the certificate, Host the route.
            answer = await ask(running.https, "nowhere.example", tls=trusting(mine), name="a.example")
            assert answer.status == 404
            with pytest.raises(ssl.SSLCertVerificationError):
                await Client.connect(running.https, trusting(mine), "other.example")
            # Plain HTTP goes on beside it: nothing is redirected unasked.
            assert (await ask(running.http, "a.example")).status == 200

            held = await Client.connect(running.https, trusting(mine), "a.example")
            assert (await held.ask("a.example", "/")).status == 200
            folder.write("secrets", [newer, wild])
            await running.until_certificate("a.example", trusting(newer))
            assert (await held.ask("a.example", "/")).status == 200, "an open connection goes on"
            held.close()
            folder.write("secrets", [wild])
            await running.until(lambda: "Secret shop/a does not exist" in running.log)
            assert (await ask(running.http, "a.example")).status == 200
            assert await running.end() == 0


async def visit(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
    """Ask a.example something; the newest session, and whether the one given was resumed."""

    def ask_once() -> tuple[ssl.SSLSession, bool]:
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="a.example", session=session) as stream,
        ):
            stream.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            while stream.recv(65536):
                pass
            assert stream.session is not None
            return stream.session, bool(stream.session_reused)

    return await asyncio.to_thread(ask_once)


async def test_sessions_are_resumed_by_every_worker(tmp_path: Path) -> None:
    secret = tls_secret("a", "a.example")
    tls = [{"hosts": ["a.example"], "secretName": "a"}]
    context = trusting(secret)

    async with endpoints("web") as (web,):
        rules: dict[str, list[tuple[str, str | None, str]]] = {"a.example": [("/", "Prefix", "web")]}
        folder = Folder(tmp_path)
        folder.write("web", [ingress("web", rules, tls=tls), *service("web", web.address), secret])
        async with serving("-f", str(tmp_path), "--https", "127.0.0.1:0", "--workers", "4") as running:
            await running.until_certificate("a.example", context)
            first, reused = await visit(running.https, context, None)
            assert reused is False
            # Four workers share the port at random: that all of these meet the first one's worker is 1 in 4 ** 20.
            assert all([(await visit(running.https, context, first))[1] for _ in range(20)])
            killed = running.workers()[0]
            os.kill(killed, signal.SIGKILL)
            await running.until_replaced(killed, 4)
            assert all([(await visit(running.https, context, first))[1] for _ in range(10)])


async def test_passthrough_by_flag(tmp_path: Path) -> None:
    pod = Authority().issue("pod.example")
    trust = ssl.create_default_context(cadata=pod.pem.decode())
    trust.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"the pod itself")
        writer.close()

    async with endpoints("web") as (web,), await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server(pod)) as own:
        target = f"pod.example=127.0.0.1:{own.sockets[0].getsockname()[1]}"
        flags = ("--to", web.address, "--https", "127.0.0.1:0", "--passthrough", target, "--workers", "1")
        async with serving(*flags, http=False) as running:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", running.https, ssl=trust, server_hostname="pod.example"
            )
            assert await reader.read() == b"the pod itself"
            writer.close()
            anybody = ssl._create_unverified_context()
            assert (await ask(running.https, "a.example", tls=anybody, name="a.example")).service == "web"


async def test_tls_without_a_listener_is_said(tmp_path: Path) -> None:
    Folder(tmp_path).write("web", [ingress("web", {"a.example": []}, tls=[{"hosts": ["a.example"]}])])
    async with serving("-f", str(tmp_path), "--workers", "1") as running:
        await running.until(lambda: "Ingress shop/web asks for TLS, but nothing listens for it" in running.log)
