"""The rows of the Ingress conformance suite once more, the objects being in a real API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.cluster import layout
from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.processes import in_netns
from tests.ingress.test_conformance import PATHS, ROWS, SERVICES

NAMESPACE = "conformance"
TOP = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.e2e.conformance"]


@pytest.fixture
def address(cluster: Cluster) -> Iterator[str]:
    """Where the proxy answers by PATHS, its endpoints being processes on the second node."""
    if not cluster.parts.ingress:
        pytest.skip("no Ingress controller in the baseline")
    node = cluster.nodes[1]
    argv = in_netns(node.netns, [*PROGRAM, "serve", node.address, *SERVICES])
    serving = subprocess.Popen(argv, cwd=TOP, stdout=subprocess.PIPE, text=True)
    assert serving.stdout is not None
    try:
        ports = json.loads(serving.stdout.readline())
        cluster.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        cluster.kubectl.apply(shop.ingress_class(), *objects(node.address, ports))
        front = cluster.nodes[0].address
        cluster.wait("every host is served", lambda: answers(front, [(host, "/") for host in PATHS]) is not None)
        yield front
    finally:
        serving.kill()
        serving.wait()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def objects(address: str, ports: dict[str, int]) -> Iterator[shop.Object]:
    for name, port in ports.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}
        yield {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": metadata | {"labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
            "ports": [{"name": "", "port": port, "protocol": "TCP"}],
        }
    rules = []
    for host, paths in PATHS.items():
        found = []
        for path, kind, name in paths:
            backend = {"service": {"name": name, "port": {"number": 80}}}
            found.append({"path": path, "pathType": kind, "backend": backend})
        rules.append({"host": host, "http": {"paths": found}})
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "paths", "namespace": NAMESPACE},
        "spec": {"ingressClassName": "causeway", "rules": rules},
    }


def answers(address: str, asks: list[tuple[str, str]]) -> list[int | str]:
    """Name of the Service that answers, or the status. Raises AssertionError if the proxy cannot be asked."""
    argv = in_netns(layout.CLIENT, [*PROGRAM, "ask", address, "80"])
    done = subprocess.run(
        argv, cwd=TOP, input=json.dumps(asks), capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    return [name if status == 200 else status for status, name in json.loads(done.stdout)]


def test_hosts_and_paths(cluster: Cluster, address: str) -> None:
    wanted = {(host, path): want for host, path, want in ROWS}

    def wrong() -> dict[tuple[str, str], int | str]:
        got = dict(zip(wanted, answers(address, list(wanted)), strict=True))
        return {asked: found for asked, found in got.items() if found != wanted[asked]}

    cluster.wait("the whole Ingress is served", lambda: 503 not in wrong().values() and len(wrong()) < 10)
    assert wrong() == {}
