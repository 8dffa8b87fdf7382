"""Secrets of a real API server, as clients of a running controller see them."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lb.cluster.objects import Object, Secret
from tests.ingress.certificates import tls_secret
from tests.ingress.peers import Client, ask
from tests.ingress.serving import Served, started
from tests.ingress.site import ANYBODY
from tests.ingress.state import ingress
from tests.ingress.test_tls import trusting
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.following import allowed, namespace

NGINX = "nginx.ingress.kubernetes.io/"
CLASS = {"kubernetes.io/ingress.class": "nginx"}
GROUPS = ["", "discovery.k8s.io", "networking.k8s.io"]
OTHERS = ["services", "configmaps", "endpointslices", "ingresses", "ingressclasses"]


pytestmark = pytest.mark.timeout(180)


def reading(*resources: str) -> list[dict[str, Any]]:
    return [{"apiGroups": GROUPS, "resources": resources, "verbs": ["list", "watch"]}]


def path_of(kind: str, space: str) -> str:
    group = "/apis/networking.k8s.io/v1" if kind == "ingresses" else "/api/v1"
    return f"{group}/namespaces/{space}/{kind}"


class Cluster:
    """One namespace of the API server."""

    def __init__(self, api: RealApi, space: str) -> None:
        self.api = api
        self.space = space
        self.there: set[str] = set()

    async def put(self, found: Object) -> None:
        """Create, or replace what has its name."""
        content: dict[str, Any] = msgspec.to_builtins(found)
        content["metadata"]["namespace"] = self.space
        collection = path_of("secrets" if isinstance(found, Secret) else "ingresses", self.space)
        path = f"{collection}/{found.metadata.name}"
        if path in self.there:
            await self.api.request("PUT", path, content)
        else:
            await self.api.request("POST", collection, content)
        self.there.add(path)

    async def delete(self, kind: str, name: str = "") -> None:
        path = f"{path_of(kind, self.space)}/{name}".rstrip("/")
        await self.api.request("DELETE", path)
        self.there.discard(path)


@asynccontextmanager
async def cluster(api: RealApi, space: str) -> AsyncIterator[Cluster]:
    made = Cluster(api, await namespace(api, space))
    try:
        yield made
    finally:
        await made.delete("ingresses")


@asynccontextmanager
async def controller(api: RealApi, *flags: str, token: str = "") -> AsyncIterator[Served]:
    argv = ["ingress", "--kubeconfig", str(api.kubeconfig({"token": token or api.admin})), "--workers", "1"]
    argv += ["--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-delay", "0"]
    async with started(*argv, "--lease-namespace", "default", *flags) as proxy:
        await proxy.ready()
        yield proxy


def web(name: str, secret: str, **annotations: str) -> Object:
    """An Ingress of NAME.example with TLS."""
    named = {NGINX + key.replace("_", "-"): value for key, value in annotations.items()}
    tls = [{"hosts": [f"{name}.example"], "secretName": secret}]
    rules: dict[str, Sequence[tuple[str, str | None, str]]] = {f"{name}.example": [("/", "Prefix", "none")]}
    return ingress(name, rules, tls=tls, annotations=CLASS | named)


async def test_a_secret_is_live_when_it_is_named_or_changed_or_goes(real_api: RealApi) -> None:
    first, second, other = (tls_secret(name, f"{host}.example") for name, host in (("a", "a"), ("a", "a"), ("b", "b")))
    default = tls_secret("default", "unknown.example")
    async with cluster(real_api, "secrets-a") as made:
        for each in (default, first, other):
            await made.put(each)
        async with controller(real_api, "--default-ssl-certificate", "secrets-a/default") as proxy:
            (await Client.connect(proxy.https, trusting(default), "unknown.example")).close()
            for each in (web("a", "a"), web("b", "b")):
                await made.put(each)
            await proxy.until_certificate("a.example", trusting(first))
            await proxy.until_certificate("b.example", trusting(other))
            assert "Secret" not in proxy.log, "it was never missing"
            held = await Client.connect(proxy.https, trusting(first), "a.example")
            await made.put(second)
            await proxy.until_certificate("a.example", trusting(second))
            await made.delete("secrets", "a")
            problem = "Ingress secrets-a/a: spec.tls[0].secretName: Secret secrets-a/a does not exist"
            await proxy.until(lambda: problem in proxy.log)
            assert "Ingress secrets-a/b: spec.tls" not in proxy.log
            await proxy.until_certificate("b.example", trusting(other))
            await made.put(first)
            await proxy.until_certificate("a.example", trusting(first))
            real_api.kill_api()
            try:
                await proxy.until(lambda: "API server: does not answer" in proxy.log)
                (await Client.connect(proxy.https, trusting(first), "a.example")).close()
            finally:
                await asyncio.to_thread(real_api.start_api)
            await made.put(second)
            await proxy.until_certificate("a.example", trusting(second), seconds=60)
            assert (await held.ask("a.example", "/")).status == 503, "the connection of before is still open"
            held.close()
            assert await proxy.end() == 0


async def test_passwords_of_a_secret(real_api: RealApi) -> None:
    def users(name: str, password: str) -> Secret:
        data = {"auth": base64.b64encode(f"joe:{{PLAIN}}{password}".encode()).decode()}
        return msgspec.structs.replace(tls_secret(name, "x"), type="Opaque", data=data)

    async def status(proxy: Served, password: str = "") -> int:
        """503: let through, to no endpoint, or closed to everybody."""
        fields = {"Authorization": "Basic " + base64.b64encode(f"joe:{password}".encode()).decode()} if password else {}
        return (await ask(proxy.http, "shop.example", fields=list(fields.items()))).status

    async with cluster(real_api, "secrets-b") as made:
        await made.put(users("old", "one"))
        await made.put(users("new", "two"))
        await made.put(web("shop", "none", auth_type="basic", auth_secret="old", ssl_redirect="false"))
        async with controller(real_api) as proxy:
            assert [await status(proxy, each) for each in ("", "one", "two")] == [401, 503, 401]
            await made.put(web("shop", "none", auth_type="basic", auth_secret="new", ssl_redirect="false"))
            while await status(proxy, "two") == 401:
                # It goes from one to the other: never is it open to everybody, or closed to all.
                assert await status(proxy) == 401
            assert [await status(proxy, each) for each in ("", "one", "two")] == [401, 401, 503]
            await made.put(users("new", "three"))
            await proxy.until_answer("shop.example", "/", lambda answer: answer.status == 401)
            async with asyncio.timeout(15):
                while await status(proxy, "three") == 401:
                    pass
            await made.delete("secrets", "new")
            await proxy.until_answer("shop.example", "/", lambda answer: answer.status == 503)
            assert "Secret secrets-b/new does not exist" in proxy.log


def memory(pid: int) -> bytes:
    """Everything a process has in memory of its own."""
    found = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as source:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, rest = re.fullmatch(r"(\S+) (\S+) \S+ \S+ \S+\s*(.*)", line).groups()  # type: ignore[union-attr]
            if rights.startswith("rw") and not rest.startswith(("/", "[v")):
                begin, end = (int(each, 16) for each in span.split("-"))
                source.seek(begin)
                try:
                    found.append(source.read(end - begin))
                except OSError:
                    continue  # it is gone meanwhile
    return b"".join(found)


async def test_what_nobody_names_is_never_in_memory(real_api: RealApi) -> None:
    def holding(name: str, text: str) -> Secret:
        found = tls_secret(name, "a.example")
        data = {**(found.data or {}), "more": base64.b64encode(f"{text} nothing else has this".encode()).decode()}
        return msgspec.structs.replace(found, data=data)

    async with cluster(real_api, "secrets-c") as made:
        secrets = {name: holding(name, f"what {name} has") for name in ("named", "unnamed", "late")}
        await made.put(secrets["named"])
        await made.put(secrets["unnamed"])
        await made.put(web("a", "named"))
        async with controller(real_api) as proxy:
            (await Client.connect(proxy.https, trusting(secrets["named"]), "a.example")).close()
            await made.put(secrets["late"])
            newer = holding("named", "what it has now")
            await made.put(newer)
            await proxy.until_certificate("a.example", trusting(newer))
            held = await asyncio.to_thread(memory, proxy.process.pid)
            assert (newer.data or {})["tls.crt"].encode() in held, "what is named is found this way"
            for name in ("unnamed", "late"):
                data = secrets[name].data or {}
                assert not any(data[part].encode() in held for part in ("more", "tls.key")), name


async def test_the_first_answers_have_their_certificates(real_api: RealApi) -> None:
    secrets = [tls_secret(f"s{number}", f"h{number}.example") for number in range(60)]
    async with cluster(real_api, "secrets-d") as made:
        ingresses = [web(f"h{number}", each.metadata.name) for number, each in enumerate(secrets)]
        await asyncio.gather(*map(made.put, [*secrets, *ingresses]))
        async with controller(real_api) as proxy:
            for number, each in enumerate(secrets):
                (await Client.connect(proxy.https, trusting(each), f"h{number}.example")).close()
            assert "serving 60 hosts, 60 routes, 1 backends, 60 certificates" in proxy.log


async def test_without_rights_to_secrets_the_rest_is_served(real_api: RealApi) -> None:
    cert = tls_secret("cert", "a.example")
    async with cluster(real_api, "secrets-e") as made, allowed(real_api, "all-but-secrets", reading(*OTHERS)):
        await made.put(cert)
        await made.put(web("a", "cert", permanent_redirect="https://elsewhere.example/"))
        await made.put(ingress("b", {"b.example": [("/", "Prefix", "none")]}, annotations=CLASS))
        async with controller(real_api, token=real_api.nobody) as proxy:
            assert (await ask(proxy.http, "b.example")).status == 503
            found = await ask(proxy.https, "a.example", tls=ANYBODY, name="a.example")
            assert found.fields["location"] == "https://elsewhere.example/"
            assert "(bind our account to a ClusterRole that may list and watch secrets)" in proxy.log
            assert re.search(
                r"Ingress secrets-e/a: \S+ Secret secrets-e/cert cannot be used: it cannot be read: 403", proxy.log
            )
            async with allowed(real_api, "secrets-as-well", reading("secrets")):
                await proxy.until_certificate("a.example", trusting(cert), seconds=60)
