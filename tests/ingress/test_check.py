"""`causeway check`: the report in each form, from a folder and from a real API server."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import msgspec

from tests.ingress.certificates import tls_secret
from tests.ingress.serving import Folder
from tests.ingress.state import ingress
from tests.lb.cluster.conftest import RealApi

PREFIX = "nginx.ingress.kubernetes.io/"
SNIPPET = {PREFIX + "enable-cors": "true", PREFIX + "server-snippet": "<script>alert(1)</script>"}


def run(*argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "causeway", "check", *argv], capture_output=True, text=True)


def folder(path: Path) -> str:
    made = Folder(path / "manifests")
    made.write("all", [ingress("web", {"<b>.example": [("/", "Prefix", "web")]}, annotations=SNIPPET)])
    return str(made.path)


def test_json(tmp_path: Path) -> None:
    done = run("-f", folder(tmp_path), "--output", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["totals"]["refused"] == 1
    assert {each["fate"] for each in report["ingresses"][0]["findings"]} == {"honoured", "refused"}


def test_table(tmp_path: Path) -> None:
    done = run("-f", folder(tmp_path), "--output", "table")
    assert "server-snippet" in done.stdout
    assert "1 Ingresses" in done.stdout


def test_a_page_in_which_nothing_of_the_objects_is_html(tmp_path: Path) -> None:
    page = run("-f", folder(tmp_path), "--output", "html").stdout
    assert page.startswith("<!doctype html>")
    assert "server-snippet" in page
    assert "<script" not in page
    assert "<b>" not in page


def test_a_folder_without_anything_to_decide(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    done = run("-f", str(tmp_path / "manifests"), "--output", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["totals"]["ingresses"] == 0


async def test_a_live_cluster(real_api: RealApi) -> None:
    ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    annotations = {"kubernetes.io/ingress.class": "nginx", **SNIPPET}
    cert = msgspec.to_builtins(tls_secret("cert", "a.example", namespace="default"))
    tls = [{"hosts": [f"{name}.example"], "secretName": secret} for name, secret in (("a", "cert"), ("b", "missing"))]
    spec = {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}, "tls": tls}
    await real_api.request("POST", "/api/v1/namespaces/default/secrets", cert)
    await real_api.request("POST", ingresses, {"metadata": {"name": "web", "annotations": annotations}, "spec": spec})
    try:
        config = str(real_api.kubeconfig({"token": real_api.admin}))
        done = await asyncio.to_thread(run, "--kubeconfig", config, "--output", "json")
    finally:
        await real_api.request("DELETE", f"{ingresses}/web")
        await real_api.request("DELETE", "/api/v1/namespaces/default/secrets/cert")
    report = json.loads(done.stdout)
    (only,) = [each for each in report["ingresses"] if each["ingress"] == "default/web"]
    assert only["served"]
    assert [each["fate"] for each in only["findings"]] == ["honoured", "refused"]
    assert [each for each in only["problems"] if "spec.tls" in each] == [
        "Ingress default/web: spec.tls[1].secretName: Secret default/missing does not exist; b.example shows the "
        "default certificate (create it, type kubernetes.io/tls)"
    ]


def test_the_config_map_is_checked(tmp_path: Path) -> None:
    Folder(tmp_path).write_text(
        "config",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: controller, namespace: ops}\ndata: {keep-alvie: '7'}\n",
    )
    done = run("-f", str(tmp_path), "--configmap", "ops/controller")
    assert done.returncode == 1
    assert "ConfigMap ops/controller: data[keep-alvie]: it is not known here" in done.stdout
    assert run("-f", str(tmp_path)).returncode == 0
    assert "NAMESPACE/NAME" in run("-f", str(tmp_path), "--configmap", "x").stderr


def test_flags_of_the_controller_decide_here_too(tmp_path: Path) -> None:
    annotations = {"causeway.dev/filters": "stamp", "own.example/enable-cors": "maybe"}
    Folder(tmp_path).write("web", [ingress("web", default="none", annotations=annotations)])
    done = run("-f", str(tmp_path), "--annotations-prefix", "own.example", "--disable-svc-external-name")
    assert "metadata.annotations[own.example/enable-cors]" in done.stdout
    assert "metadata.annotations[causeway.dev/filters]" in done.stdout
    assert "disable-catch-all" not in done.stdout
    done = run("-f", str(tmp_path), "--disable-catch-all", "--output", "json")
    assert "--disable-catch-all" in json.loads(done.stdout)["ingresses"][0]["reason"]
    assert "--allow-filters" in run("-f", str(tmp_path), "--allow-filters", "nothing").stderr
