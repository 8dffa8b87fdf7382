"""The lower half together: a balancer gives a Service its address, agents announce and serve it, one node dies."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NetNs
from tests.netns.lan import HERE, PORT, Lan, Pod, seen_from, wait_for

pytestmark = pytest.mark.netns

FAIL_OVER_SECONDS_MAX = 3.0
"""Measured about 1; other work on the machine gets some room."""

ASKING = """
import socket, sys, time
# A new connection every 20 ms, given up after 200 ms; prints when each that succeeded began.
while True:
    began = time.monotonic()
    with socket.socket() as client:
        client.settimeout(0.2)
        try:
            client.connect((sys.argv[1], 80))
            if client.recv(100):
                print(began, flush=True)
        except OSError:
            pass
    time.sleep(0.02)
"""


@pytest.fixture
def balancer(lan: Lan) -> Iterator[None]:
    pool = "public=192.168.70.200-192.168.70.209"
    command = [sys.executable, "-m", "causeway", "balancer", "-f", str(lan.manifests), "--pool", pool]
    running = subprocess.Popen(command, cwd=HERE.parent.parent, stderr=subprocess.DEVNULL)
    yield
    running.kill()
    running.wait()


def write_service(lan: Lan, name: str, pods: list[Pod], policy: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": policy,
            "ports": [{"port": 80, "targetPort": PORT}],
        },
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [pod.ips[0]], "nodeName": pod.node.name} for pod in pods],
        "ports": [{"port": PORT}],
    }
    new = lan.manifests / f".{name}"
    new.write_text(f"{json.dumps(service)}\n---\n{json.dumps(endpoints)}\n")
    new.rename(lan.manifests / f"{name}.yaml")


def state(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text())["addresses"]) if path.exists() else []


def holders(lan: Lan, address: str) -> list[str]:
    """The nodes that say they announce it."""
    return [
        node.name
        for node in lan.nodes
        for each in state(node.run_dir / "announced.json")
        if each["address"] == address and each["here"]
    ]


def address_of(lan: Lan, name: str) -> str:
    path = lan.manifests / ".status" / f"Service.default.{name}.yaml"
    wait_for(path.exists)
    return path.read_text().partition("ip: ")[2].split()[0]


class Asking:
    """Connections one after the other, and when those that succeeded began."""

    def __init__(self, client: NetNs, address: str) -> None:
        command = (sys.executable, "-IS", "-c", ASKING, address)
        self._process = client.popen(*command, stdout=subprocess.PIPE)
        self._times: list[float] = []
        self.until(0.0)

    def until(self, moment: float) -> None:
        """Read on until one has succeeded that began after this moment."""
        assert self._process.stdout is not None
        while not self._times or self._times[-1] <= moment:
            self._times.append(float(self._process.stdout.readline()))

    def end(self) -> float:
        """Stop; the longest time in seconds without a success."""
        self._process.kill()
        self._process.communicate()
        return max(later - earlier for earlier, later in pairwise(self._times))


@pytest.mark.usefixtures("balancer")
def test_the_node_with_the_address_dies(lan: Lan) -> None:
    outside = lan.machine("outside", 9)
    nodes = [lan.node(number) for number in (1, 2, 3)]
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_ready()
    pods = [lan.pod(node) for node in nodes]
    for pod in pods:
        lan.serve(pod.ns)
    write_service(lan, "local", pods, "Local")
    wait_for(lambda: address_of(lan, "local"))
    address = address_of(lan, "local")
    assert address == "192.168.70.200"
    # The client's own address arrives at the pod: the node that answers has an endpoint.
    assert wait_for(lambda: seen_from(outside, address, port=80)) == "192.168.70.19"
    (first,) = wait_for(lambda: holders(lan, address))
    dying = next(node for node in nodes if node.name == first)

    asking = Asking(outside, address)
    dying.ns.run("ip", "link", "set", "eth0", "down")
    dying.kill()
    began = time.monotonic()
    wait_for(lambda: [name for name in holders(lan, address) if name != first])
    wait_for(lambda: seen_from(outside, address, port=80) == "192.168.70.19")
    print(f"seen at another node after {time.monotonic() - began:.2f} s")
    asking.until(time.monotonic())
    gap = asking.end()
    print(f"no connection for {gap:.2f} s")
    assert gap < FAIL_OVER_SECONDS_MAX
