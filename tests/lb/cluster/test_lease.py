"""One at a time: the rules as a table, and two balancers at a real API server."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lb.cluster.lease import LeaseRecord, Watched
from tests.lb.cluster.conftest import RealApi

LEASE = "/apis/coordination.k8s.io/v1/namespaces/default/leases/causeway-balancer"
SERVICES = "/api/v1/namespaces/default/services"
DEADLINE_SECONDS = 20.0


def held(by: str | None, renewed: str = "t0", seconds: int | None = 15) -> LeaseRecord:
    return LeaseRecord(by, seconds, 0, renewed)


@pytest.mark.parametrize(
    ("seen", "may_take"),
    [
        pytest.param([(0, LeaseRecord())], True, id="new"),
        pytest.param([(0, held(""))], True, id="let go"),
        pytest.param([(0, held("me"))], True, id="ours"),
        pytest.param([(0, held("other"))], False, id="just seen, however old it says it is"),
        pytest.param([(0, held("other")), (14, held("other"))], False, id="unchanged, not long enough"),
        pytest.param([(0, held("other")), (16, held("other"))], True, id="unchanged for its duration"),
        pytest.param([(0, held("other")), (14, held("other", "t1")), (20, held("other", "t1"))], False, id="renewed"),
        pytest.param([(0, held("other", seconds=30)), (16, held("other", seconds=30))], False, id="its own duration"),
        pytest.param([(0, held("other", seconds=None)), (16, held("other", seconds=None))], True, id="no duration"),
    ],
)
def test_when_a_lease_may_be_taken(seen: list[tuple[float, LeaseRecord]], may_take: bool) -> None:
    watched = Watched()
    assert [watched.may_take(record, "me", now) for now, record in seen][-1] is may_take


class Balancers:
    """Balancer processes at the API server."""

    def __init__(self, api: RealApi, folder: Path) -> None:
        self.api = api
        self._kubeconfig = api.kubeconfig({"token": api.admin})
        self._folder = folder
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "causeway", "balancer", "--kubeconfig", str(self._kubeconfig)]
        command += ["--lease-namespace", "default", "--pool", "p=192.0.2.1-192.0.2.9"]
        with open(self._folder / f"balancer-{len(self.running)}.log", "wb") as log:
            self.running.append(subprocess.Popen(command, stderr=log))
        return self.running[-1]

    async def addresses(self, name: str) -> list[str]:
        found = await self.api.request("GET", f"{SERVICES}/{name}")
        return [each["ip"] for each in found["status"]["loadBalancer"].get("ingress", ())]

    async def leader(self) -> "subprocess.Popen[bytes] | None":
        holder = str((await self.api.request("GET", LEASE))["spec"].get("holderIdentity", ""))
        return next((each for each in self.running if f"_{each.pid}_" in holder), None)


@pytest.fixture
async def balancers(real_api: RealApi, tmp_path: Path) -> AsyncIterator[Balancers]:
    made = Balancers(real_api, tmp_path)
    yield made
    for each in made.running:
        each.kill()
        each.wait()
    for found in (await real_api.request("GET", SERVICES))["items"]:
        if found["spec"]["type"] == "LoadBalancer":
            await real_api.request("DELETE", f"{SERVICES}/{found['metadata']['name']}")


def service(name: str) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.1)


async def test_two_balancers_take_turns(real_api: RealApi, balancers: Balancers) -> None:
    async def has(name: str, address: str) -> bool:
        return await balancers.addresses(name) == [address]

    first = balancers.start()
    await real_api.request("POST", SERVICES, service("web"))
    await until(lambda: has("web", "192.0.2.1"))
    second = balancers.start()
    assert await balancers.leader() is first
    first.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, 10) == 0

    async def second_leads() -> bool:
        return await balancers.leader() is second

    await until(second_leads)
    await real_api.request("POST", SERVICES, service("api"))
    await until(lambda: has("api", "192.0.2.2"))
    assert await balancers.addresses("web") == ["192.0.2.1"]
    spec = {"type": "ClusterIP"}
    changed = await real_api.request("GET", f"{SERVICES}/web")
    await real_api.request("PUT", f"{SERVICES}/web", {**changed, "spec": {**changed["spec"], **spec}})

    async def cleared() -> bool:
        return await balancers.addresses("web") == []

    await until(cleared)
    await real_api.request("POST", SERVICES, service("next"))
    await until(lambda: has("next", "192.0.2.1"))
