"""A real etcd and kube-apiserver on loopback, for what a controller does with a large cluster.

The programs are those that `make e2e` builds; without them what needs an API server is skipped.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.peers.process import free_port
from bench.scenarios import ScenarioFailed, Skipped
from bench.scenarios.documents import Document

TOKEN = "bench"
AT_ONCE = 16
READY_SECONDS = 60.0
ELSEWHERE = ("nice", "-n", "10")
"""What runs on other machines than the controller should not take its CPU: it comes second."""
PLURALS = {
    "Service": "/api/v1/namespaces/bench/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/bench/endpointslices",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/bench/ingresses",
    "IngressClass": "/apis/networking.k8s.io/v1/ingressclasses",
    "Namespace": "/api/v1/namespaces",
}


def programs() -> Path:
    """The folder of etcd and kube-apiserver. Raises Skipped."""
    given = os.environ.get("CAUSEWAY_E2E_CACHE")
    folder = (Path(given) if given else Path.home() / ".cache/causeway-e2e") / "bin"
    for name in ("etcd", "kube-apiserver"):
        if not (folder / name).exists():
            raise Skipped(f"needs {name}, which `make e2e` builds")
    return folder


@dataclass
class Api:
    """A client of it. Lives on one asyncio loop."""

    url: str
    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, content: Any = None) -> Any:
        """The decoded answer. Raises ScenarioFailed for what is refused."""
        async with self.session.request(method, self.url + path, json=content, ssl=False) as answer:
            found = await answer.json()
            if answer.status >= 300:
                raise ScenarioFailed(f"{method} {path}: {found.get('message', found)}")
            return found

    async def create(self, objects: Iterable[Document]) -> None:
        """All of them, many at once."""
        rest = iter(objects)

        async def some() -> None:
            for each in rest:
                await self.send("POST", PLURALS[each["kind"]], each)

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    async def put(self, found: Document) -> None:
        await self.send("PUT", f"{PLURALS[found['kind']]}/{found['metadata']['name']}", found)


@contextlib.contextmanager
def api_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """Its url, and a kubeconfig with all rights."""
    where, port, etcd, peer = programs(), free_port(), free_port(), free_port()
    url = f"https://127.0.0.1:{port}"
    (folder / "tokens.csv").write_text(f'{TOKEN},bench,1,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"], check=True, capture_output=True)
    commands = (
        ["etcd", f"--data-dir={folder}/etcd", f"--listen-client-urls=http://127.0.0.1:{etcd}",
         f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
         "--unsafe-no-fsync"],
        ["kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
         "--advertise-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={folder}/certificates",
         f"--service-account-key-file={folder}/sa.key", f"--service-account-signing-key-file={folder}/sa.key",
         "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/12",
         f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=RBAC",
         "--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none"],
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        for name, *flags in commands:
            output = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen([*ELSEWHERE, where / name, *flags], stdout=output, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.kill)
        _await_ready(url, folder)
        yield url, kubeconfig(folder, url)


def _await_ready(url: str, folder: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    command = ["curl", "-sk", "-m", "2", "-H", f"Authorization: Bearer {TOKEN}", f"{url}/readyz"]
    while subprocess.run(command, capture_output=True).stdout != b"ok":
        if time.monotonic() > deadline:
            said = (folder / "kube-apiserver.log").read_text(errors="replace")[-600:]
            raise ScenarioFailed(f"the API server is not ready after {READY_SECONDS:g} s: {said}")
        time.sleep(0.2)


def kubeconfig(folder: Path, url: str) -> Path:
    """With all rights at `url`."""
    file = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
    }
    file.write_text(json.dumps(content))
    return file
