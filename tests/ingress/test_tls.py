"""HTTPS by the Secrets of the Ingresses, chosen by SNI and changed while it runs."""

import ssl
from pathlib import Path

import pytest

from ingress.routes.certificates import read_pair
from lb.cluster.objects import Secret
from tests.ingress.certificates import tls_secret
from tests.ingress.peers import Client, ask, endpoints
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


async def test_tls_without_a_listener_is_said(tmp_path: Path) -> None:
    Folder(tmp_path).write("web", [ingress("web", {"a.example": []}, tls=[{"hosts": ["a.example"]}])])
    async with serving("-f", str(tmp_path), "--workers", "1") as running:
        await running.until(lambda: "Ingress shop/web asks for TLS, but nothing listens for it" in running.log)
