"""Credentials and requests, against the real API server."""

import base64
import json
import tempfile
from pathlib import Path

import pytest
from kubernetes.aio.client import Configuration

from lb.cluster import connection
from lb.cluster.connection import ApiFailed, BadCredentials, Connection, from_kubeconfig, in_cluster, path_of
from lb.cluster.objects import EndpointSlice, Ingress, IngressClass, Namespace, Service
from tests.lb.cluster.conftest import RealApi

real = pytest.mark.timeout(180)


def test_paths() -> None:
    assert path_of(Service) == "/api/v1/services"
    assert path_of(Service, "shop") == "/api/v1/namespaces/shop/services"
    assert path_of(EndpointSlice) == "/apis/discovery.k8s.io/v1/endpointslices"
    assert path_of(Ingress, "shop") == "/apis/networking.k8s.io/v1/namespaces/shop/ingresses"
    assert path_of(IngressClass) == "/apis/networking.k8s.io/v1/ingressclasses"
    assert path_of(Namespace) == "/api/v1/namespaces"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("a: [", "is not YAML"),
        ("a: b", "is not a kubeconfig: it has no clusters"),
        ("clusters: []", "is not a usable kubeconfig"),
        ("clusters: []\ncontexts: []\ncurrent-context: c", "is not a usable kubeconfig"),
        ("just words", "is not a kubeconfig"),
    ],
)
def test_a_kubeconfig_that_is_no_good(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadCredentials, match=says):
        from_kubeconfig(file)


def test_outside_a_cluster() -> None:
    with pytest.raises(BadCredentials, match="not in a cluster: Service host/port is not set"):
        in_cluster(environ={})


async def test_nobody_listens() -> None:
    async def load() -> Configuration:
        return Configuration(host="http://127.0.0.1:1")

    with pytest.raises(ApiFailed, match="Cannot connect to host 127") as caught:
        await Connection(load).get("/version")
    assert caught.value.status == 0


async def version(found: Connection) -> bool:
    """True if we may see what only an administrator sees."""
    try:
        return b"items" in await found.get("/api/v1/secrets")
    finally:
        await found.close()


@real
async def test_real_credentials_by_token_and_by_file(real_api: RealApi) -> None:
    pki = real_api.folder / "pki"
    assert await version(Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.admin}))))
    by_file = {"client-certificate": str(pki / "admin.crt"), "client-key": str(pki / "admin.key")}
    assert await version(Connection(from_kubeconfig(real_api.kubeconfig(by_file))))
    (real_api.folder / "token").write_text(real_api.admin)
    # Files are named relative to the kubeconfig.
    assert await version(Connection(from_kubeconfig(real_api.kubeconfig({"tokenFile": "token"}))))


@real
async def test_real_keys_given_inline_are_not_left_in_files(
    real_api: RealApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pki = real_api.folder / "pki"
    inline = {
        "client-certificate-data": base64.b64encode((pki / "admin.crt").read_bytes()).decode(),
        "client-key-data": base64.b64encode((pki / "admin.key").read_bytes()).decode(),
    }
    found = Connection(from_kubeconfig(real_api.kubeconfig(inline)))
    assert await version(found)
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240
    assert await version(found)  # opened again after close


@real
async def test_real_exec_plugin(real_api: RealApi) -> None:
    plugin = real_api.folder / "plugin"
    status = {"token": real_api.admin, "expirationTimestamp": "2020-01-01T00:00:00Z"}
    content = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin.write_text(f"#!/bin/sh\necho run >>{real_api.folder}/runs\necho '{json.dumps(content)}'\n")
    plugin.chmod(0o755)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    found = Connection(from_kubeconfig(real_api.kubeconfig(user)))  # type: ignore[arg-type]
    assert b"items" in await found.get("/api/v1/secrets")
    before = (real_api.folder / "runs").read_text().count("run")
    assert b"items" in await found.get("/api/v1/secrets")  # what it gave has expired: it is asked again
    assert (real_api.folder / "runs").read_text().count("run") > before
    await found.close()
    plugin.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(ApiFailed, match="the exec plugin gave neither a token nor a certificate"):
        await found.get("/api/v1/secrets")


@real
async def test_real_in_cluster_credentials_are_read_again_when_refused(
    real_api: RealApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REOPEN_SECONDS", 0.0)
    token = real_api.folder / "sa-token"
    token.write_text(real_api.admin)
    environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(real_api.port)}
    found = Connection(in_cluster(str(token), f"{real_api.folder}/pki/ca.crt", environ))
    assert b"items" in await found.get("/api/v1/secrets")
    await found.close()
    token.write_text("no such token")
    with pytest.raises(ApiFailed) as caught:
        await found.get("/api/v1/secrets")
    assert caught.value.status == 401
    token.write_text(real_api.admin)
    assert b"items" in await found.get("/api/v1/secrets")
    await found.close()


@real
async def test_real_refusals_carry_the_servers_words(real_api: RealApi) -> None:
    found = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.nobody})))
    with pytest.raises(ApiFailed, match='secrets is forbidden: User "nobody" cannot list resource') as caught:
        await found.get("/api/v1/secrets")
    assert caught.value.status == 403
    await found.close()


@real
async def test_real_rights_to_update_do_for_a_patch(real_api: RealApi) -> None:
    """As ingress-nginx's roles have it. The patch is of what is there now, and null takes away."""
    maps, rbac = "/api/v1/namespaces/default/configmaps", "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["told"], "verbs": ["get", "update"]}]
    subject = {"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "Role", "name": "updater", "apiGroup": "rbac.authorization.k8s.io"}
    for name in ("told", "other"):
        metadata = {"name": name, "labels": {"stays": "yes"}}
        await real_api.request("POST", maps, {"metadata": metadata, "data": {"a": "1", "b": "2"}})
    found = Connection(from_kubeconfig(real_api.kubeconfig({"token": real_api.nobody})))
    try:
        with pytest.raises(ApiFailed, match='cannot patch resource "configmaps"'):
            await found.patch(f"{maps}/told", {"data": {"a": "3"}})
        await real_api.request("POST", f"{rbac}/roles", {"metadata": {"name": "updater"}, "rules": rules})
        binding = {"metadata": {"name": "updater"}, "subjects": [subject], "roleRef": role}
        await real_api.request("POST", f"{rbac}/rolebindings", binding)
        await found.patch(f"{maps}/told", {"data": {"a": "3", "b": None, "c": "4"}})
        made = await real_api.request("GET", f"{maps}/told")
        assert (made["data"], made["metadata"]["labels"]) == ({"a": "3", "c": "4"}, {"stays": "yes"})
        with pytest.raises(ApiFailed) as caught:  # another one has written since
            await found.patch(f"{maps}/told", {"metadata": {"resourceVersion": "1"}, "data": {"a": "5"}})
        assert caught.value.status == 409
        with pytest.raises(ApiFailed, match='cannot patch resource "configmaps"'):
            await found.patch(f"{maps}/other", {"data": {"a": "3"}})
    finally:
        await found.close()
        for path in (f"{maps}/told", f"{maps}/other", f"{rbac}/rolebindings/updater", f"{rbac}/roles/updater"):
            await real_api.request("DELETE", path)
