"""Statuses are taken back while the replicas run, at a real API server."""

import asyncio
import subprocess
import sys
from typing import Any

from tests.ingress.serving import started
from tests.lb.cluster.conftest import RealApi
from tests.lb.cluster.waiting import until

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"


async def put(api: RealApi, name: str, kind: str, status: str = "") -> None:
    spec = {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}
    metadata = {"name": name, "annotations": {"kubernetes.io/ingress.class": kind}}
    whole: dict[str, Any] = await api.request("POST", INGRESSES, {"metadata": metadata, "spec": spec})
    if status:
        whole["status"] = {"loadBalancer": {"ingress": [{"ip": status}]}}
        await api.request("PUT", f"{INGRESSES}/{name}/status", whole)


async def addresses(api: RealApi, name: str) -> list[str]:
    found = await api.request("GET", f"{INGRESSES}/{name}")
    return [each["ip"] for each in found["status"]["loadBalancer"].get("ingress", ())]


async def until_addresses(api: RealApi, name: str, *wanted: str) -> None:
    async with asyncio.timeout(20):
        while True:
            if await addresses(api, name) == list(wanted):
                return
            await asyncio.sleep(0.1)


async def test_what_the_replicas_have_written_goes_and_nothing_else(real_api: RealApi) -> None:
    flags = ["ingress", "--kubeconfig", str(real_api.kubeconfig({"token": real_api.admin}))]
    flags += ["--publish-status-address", "192.0.2.7", "--lease-namespace", "default", "--election-id", "withdraw-test"]
    serving = ["--workers", "1", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-delay", "0"]
    names = {"ours": ("causeway", ""), "moved": ("causeway", "192.0.2.9"), "theirs": ("other", "192.0.2.7")}
    try:
        for name, (kind, status) in names.items():
            await put(real_api, name, kind, status)
        async with started(*flags, *serving) as proxy:
            await proxy.ready()
            await until_addresses(real_api, "ours", "192.0.2.7")
            await until_addresses(real_api, "moved", "192.0.2.7")
            argv = [sys.executable, "-m", "causeway", *flags, "--withdraw"]
            done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            assert "the status of 2 Ingresses is taken back" in done.stderr
            await until(lambda: "no longer leading" in proxy.log, "who led has stopped")
            found = {name: await addresses(real_api, name) for name in names}
            assert found == {"ours": [], "moved": [], "theirs": ["192.0.2.7"]}
            assert await proxy.end() == 0
            assert await addresses(real_api, "ours") == []
    finally:
        for name in names:
            await real_api.request("DELETE", f"{INGRESSES}/{name}")
