"""The admission webhook: asked by a real API server, and by whoever sends something else."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ingress.admission import BODY_LIMIT_BYTES, AdmissionWebhook, load_pair
from ingress.routes.admission import judge
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from ingress.routes.model import Defaults
from lb.cluster.objects import ConfigMap, Metadata
from tests.e2e.cluster.pki import Authority
from tests.ingress.serving import started
from tests.ingress.state import ingress, store_of
from tests.lb.cluster.conftest import RealApi

HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
NGINX = {"kubernetes.io/ingress.class": "nginx"}


@asynccontextmanager
async def webhook(
    folder: Path, *existing: Any, config: dict[str, str] | None = None
) -> AsyncIterator[tuple[str, Authority]]:
    """Its url, and who has signed its certificate. config: of the controller."""
    authority = Authority(folder / "pki")
    authority.sign("hook", "/CN=hook", "IP:127.0.0.1")
    files = (folder / "pki" / "hook.crt", folder / "pki" / "hook.key")
    data = ConfigMap(metadata=Metadata(name="controller", namespace="ops"), data=config or {})
    defaults = Defaults(config_map=("ops", "controller"))
    table = RoutingTable(store_of(*existing, data), Selection(), defaults=defaults)
    table.update(None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = AdmissionWebhook(partial(judge, table), listening, load_pair(*files), files)
        running = asyncio.create_task(made.run())
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}/networking/v1/ingresses", authority
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def ask(url: str, folder: Path, body: bytes) -> tuple[int, str]:
    trust = ssl.create_default_context(cafile=folder / "pki" / "ca.crt")
    async with aiohttp.ClientSession() as session, session.post(url, data=body, ssl=trust) as answer:
        return answer.status, await answer.text()


def review(found: dict[str, Any], operation: str = "CREATE") -> bytes:
    request = {"uid": "u-7", "operation": operation, "object": found}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def document(
    name: str, host: str = "shop.example", path: str = "/", kind: str = "Prefix", **annotations: str
) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "default", "annotations": NGINX | annotations},
        "spec": {"rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}]},
    }


async def test_what_it_answers(tmp_path: Path) -> None:
    rules = {"shop.example": [("/", "Prefix", "web")]}
    async with webhook(tmp_path, ingress("first", rules, created="2020", annotations=NGINX)) as (url, _):
        status, text = await ask(url, tmp_path, review(document("second")))
        answer = json.loads(text)["response"]
        assert (status, answer["uid"], answer["allowed"]) == (200, "u-7", False)
        assert "shop/first" in answer["status"]["message"]
        for good in (review(document("x", "other.example")), review(document("second"), "DELETE")):
            assert json.loads((await ask(url, tmp_path, good))[1])["response"]["allowed"]
        unknown = review(document("x", "other.example", **{"nginx.ingress.kubernetes.io/enable-cros": "true"}))
        answer = json.loads((await ask(url, tmp_path, unknown))[1])["response"]
        assert answer["allowed"]
        assert "enable-cros" in answer["warnings"][0]
        malformed = document("x")
        malformed["spec"]["rules"] = "none"
        answer = json.loads((await ask(url, tmp_path, review(malformed)))[1])["response"]
        assert not answer["allowed"]
        assert "spec.rules" in answer["status"]["message"]


def own(**annotations: str) -> dict[str, str]:
    return {f"nginx.ingress.kubernetes.io/{name.replace('_', '-')}": value for name, value in annotations.items()}


CANARY = own(canary="true")
ELSEWHERE = "new.example"


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        pytest.param(document("x"), "shop/first", id="251"),
        pytest.param(document("x", path="/other"), "", id="251-another-path"),
        pytest.param(document("x", **{"kubernetes.io/ingress.class": "traefik"}), "", id="251-another-class"),
        pytest.param(document("x", host="main.example", **CANARY), "shop/first", id="27"),
        pytest.param(document("x", **CANARY), "", id="251-canary"),
        pytest.param(document("x", ELSEWHERE, "/a[0-9]+"), "has characters that", id="82"),
        pytest.param(document("x", ELSEWHERE, "/a(b|c)", "Exact"), "has characters that", id="82-exact"),
        pytest.param(document("x", ELSEWHERE, "/a[0-9]+", "ImplementationSpecific"), "", id="82-any-type"),
        pytest.param(document("x", ELSEWHERE, "/A-b_c.d/0"), "", id="82-literal"),
        pytest.param(document("x", ELSEWHERE, "/a\nb"), "spec.rules[0].http.paths[0]", id="82-line-end"),
        pytest.param(document("x", ELSEWHERE, **own(server_snippet="deny all;")), "server-snippet", id="252"),
        pytest.param(document("x", ELSEWHERE, **own(upstream_hash_by="$uri")), "upstream-hash-by", id="253-risk"),
        pytest.param(document("x", ELSEWHERE, **own(proxy_body_size="1m")), "", id="253-small-risk"),
        pytest.param(document("x", ELSEWHERE, **own(app_root="/x/forbidden")), "app-root", id="253-word"),
    ],
)
async def test_251_what_is_refused(tmp_path: Path, found: dict[str, Any], refused: str) -> None:
    rules = {host: [("/", "Prefix", "web")] for host in ("shop.example", "main.example")}
    first = ingress("first", rules, created="2020", annotations=NGINX)
    canary = ingress("canary", {"main.example": [("/", "Prefix", "new")]}, created="2021", annotations=NGINX | CANARY)
    config = {"annotations-risk-level": "Medium", "annotation-value-word-blocklist": "forbidden"}
    async with webhook(tmp_path, first, canary, config=config) as (url, _):
        status, text = await ask(url, tmp_path, review(found))
        answer = json.loads(text)["response"]
        assert (status, answer["allowed"]) == (200, not refused)
        assert refused in answer.get("status", {}).get("message", "")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"not json", b'{"request": {"uid": 7}}'])
async def test_what_is_no_review(tmp_path: Path, body: bytes) -> None:
    async with webhook(tmp_path) as (url, _):
        assert (await ask(url, tmp_path, body))[0] == 400


async def test_254_a_review_that_is_too_large(tmp_path: Path) -> None:
    async with webhook(tmp_path) as (url, _):
        assert (await ask(url, tmp_path, b" " * (BODY_LIMIT_BYTES + 1)))[0] == 413
        assert (await ask(url, tmp_path, review(document("x"))))[0] == 200


async def test_a_real_api_server_asks(real_api: RealApi, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.sign("hook", "/CN=hook", "IP:127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    flags = ["ingress", "--kubeconfig", str(real_api.kubeconfig({"token": real_api.admin})), "--workers", "1"]
    flags += ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-delay", "0", "--lease-namespace", "default"]
    flags += ["--validating-webhook", f"127.0.0.1:{port}"]
    flags += [
        f"--validating-webhook-certificate={tmp_path}/pki/hook.crt",
        f"--validating-webhook-key={tmp_path}/pki/hook.key",
    ]
    async with started(*flags) as proxy:
        await proxy.ready()
        await real_api.request("POST", HOOKS, configuration(port, (tmp_path / "pki" / "ca.crt").read_bytes()))
        try:
            await real_api.request("POST", INGRESSES, document("first"))
            await refused(real_api, document("second"), "default/first")
            snippet = {"nginx.ingress.kubernetes.io/server-snippet": "return 200;"}
            await refused(real_api, document("third", "third.example", **snippet), "server-snippet")
            await real_api.request("POST", INGRESSES, document("fourth", "fourth.example"))
        finally:
            await real_api.request("DELETE", f"{HOOKS}/causeway-test")
            await real_api.request("DELETE", INGRESSES)


async def refused(api: RealApi, found: dict[str, Any], reason: str) -> None:
    """Until the API server has taken up the webhook and the proxy the objects of before, an Ingress may get through."""
    headers = {"Authorization": f"Bearer {api.admin}"}
    async with asyncio.timeout(20), aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.post(api.host + INGRESSES, json=found, ssl=False) as answer:
                if answer.status >= 400:
                    assert reason in await answer.text()
                    return
            await api.request("DELETE", f"{INGRESSES}/{found['metadata']['name']}")
            await asyncio.sleep(0.1)


def configuration(port: int, ca: bytes) -> dict[str, Any]:
    hook = {
        "name": "validate.causeway.dev",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": base64.b64encode(ca).decode()},
        "rules": [
            {
                "apiGroups": ["networking.k8s.io"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["ingresses"],
            }
        ],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
    }
    return {"metadata": {"name": "causeway-test"}, "webhooks": [hook]}
