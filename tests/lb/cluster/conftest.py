"""A real etcd and kube-apiserver on loopback, from the programs that `make e2e` builds."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.cluster.layout import cache_folder
from tests.e2e.cluster.pki import Authority

READY_SECONDS = 60


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RealApi:
    """etcd and kube-apiserver. `admin` and `nobody` are bearer tokens: all rights, none."""

    folder: Path
    programs: Path
    port: int = field(default_factory=_free_port)
    etcd_port: int = field(default_factory=_free_port)
    peer_port: int = field(default_factory=_free_port)
    admin: str = "token-of-admin"
    nobody: str = "token-of-nobody"
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.authority = Authority(self.folder / "pki")
        self.authority.sign("apiserver", "/CN=kube-apiserver", "IP:127.0.0.1,DNS:localhost")
        self.authority.sign("admin", "/O=system:masters/CN=admin", "DNS:admin")
        (self.folder / "tokens.csv").write_text(f'{self.admin},admin,1,"system:masters"\n{self.nobody},nobody,2\n')
        self._spawn(
            "etcd",
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls=http://127.0.0.1:{self.etcd_port}",
            f"--advertise-client-urls=http://127.0.0.1:{self.etcd_port}",
            f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
            "--unsafe-no-fsync",
        )
        self.start_api()

    def start_api(self) -> None:
        pki = self.folder / "pki"
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        )
        self._wait_ready()

    def kill_api(self) -> None:
        process = self.processes.pop("kube-apiserver")
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def kubeconfig(self, user: dict[str, str]) -> Path:
        """Write a kubeconfig with this `user` section."""
        file = self.folder / f"kubeconfig-{len(list(self.folder.glob('kubeconfig-*')))}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [
                {"name": "k", "cluster": {"server": self.host, "certificate-authority": f"{self.folder}/pki/ca.crt"}}
            ],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        }
        file.write_text(json.dumps(content))
        return file

    async def request(self, method: str, path: str, content: Any = None) -> Any:
        """Do as an administrator would; the decoded answer."""
        headers = {"Authorization": f"Bearer {self.admin}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.host + path, json=content, ssl=False) as response,
        ):
            answer = await response.json()
            assert response.status < 300, answer
            return answer

    def _spawn(self, name: str, *flags: str) -> None:
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            # These are not what a sanitized run looks at: its library would only slow them down.
            environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
            command = [self.programs / name, *flags]
            self.processes[name] = subprocess.Popen(command, stdout=out, stderr=out, env=environment)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        command = ["curl", "-sk", "-m", "2", "-H", f"Authorization: Bearer {self.admin}", f"{self.host}/readyz"]
        while time.monotonic() < deadline:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended: {(self.folder / f'{name}.log').read_text()[-2000:]}"
            if subprocess.run(command, capture_output=True).stdout == b"ok":
                return
            time.sleep(0.2)
        raise AssertionError(f"no API server: {(self.folder / 'kube-apiserver.log').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def real_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    programs = cache_folder() / "bin"
    for name in ("etcd", "kube-apiserver"):
        if not os.access(programs / name, os.X_OK):
            pytest.skip(f"no {name} in {programs}: `make e2e` builds it")
    api = RealApi(tmp_path_factory.mktemp("api"), programs)
    try:
        api.start()
        yield api
    finally:
        api.stop()
