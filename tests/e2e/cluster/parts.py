"""The parts under test on every node: ours, or upstream's to check the suite itself (CAUSEWAY_E2E_BASELINE=1)."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Protocol

from . import layout
from .kubectl import Kubectl, wait_until
from .processes import Process, in_netns, run

HTTP_PORT, HTTPS_PORT = 80, 443
CAUSEWAY = Path(sys.executable).parent / "causeway"


class Parts(Protocol):
    """What brings packets and requests to pods."""

    agents: dict[str, Process]
    balancer: Process | None
    ingress: Process | None

    def start(self, kubectl: Kubectl) -> None:
        """Starts them; nodes become Ready by it."""

    def boot(self, node: layout.Node) -> None:
        """Starts the parts of a node that was cut off its power."""

    def give_address(self, kubectl: Kubectl, namespace: str, service: str) -> None:
        """Called when a test waits for a load-balancer address: a chance for a stand-in to give one."""


class Causeway:
    """The node agent on each node, the balancer beside the API server, the Ingress proxy on the first node."""

    def __init__(self, state: Path, nodes: list[layout.Node]) -> None:
        kubeconfig = f"--kubeconfig={state}/admin.kubeconfig"
        log = state / "log"

        def process(name: str, netns: str, *flags: str) -> Process:
            return Process(name, netns, [str(CAUSEWAY), *flags, kubeconfig], log / f"{name}.log", {})

        self.agents = {node.name: process(f"agent-{node.name}", node.netns, *_agent_flags(node)) for node in nodes}
        pool = f"--pool=lan={layout.POOL_FIRST}-{layout.POOL_LAST}"
        self.balancer: Process | None = process("balancer", layout.CONTROL, "balancer", pool)
        front = nodes[0]
        self.ingress: Process | None = process(
            "ingress",
            front.netns,
            "ingress",
            f"--http={front.address}:{HTTP_PORT}",
            f"--https={front.address}:{HTTPS_PORT}",
            f"--publish-status-address={front.address}",
        )

    def start(self, kubectl: Kubectl) -> None:
        assert self.balancer
        assert self.ingress
        for part in (*self.agents.values(), self.balancer, self.ingress):
            part.start()

    def boot(self, node: layout.Node) -> None:
        self.agents[node.name].start()

    def give_address(self, kubectl: Kubectl, namespace: str, service: str) -> None:
        """The balancer does."""


def _agent_flags(node: layout.Node) -> list[str]:
    return [
        "node",
        f"--pod-network={os.environ.get('CAUSEWAY_E2E_POD_NETWORK', 'routed')}",
        f"--node={node.name}",
        f"--run-dir={node.sockets}/causeway",
        f"--cni-bin-dir={node.cni_bin}",
        f"--cni-conf-dir={node.cni_conf}",
        f"--service-cidr={layout.SERVICE_NETWORK}",
    ]


class Baseline:
    """Upstream's: ptp + host-local + portmap, static routes, kube-proxy. Load-balancer addresses are given by hand."""

    def __init__(self, programs: Path, state: Path, nodes: list[layout.Node]) -> None:
        self._state, self._nodes = state, nodes
        self._ranges: dict[str, str] = {}
        self._next = int(layout.POOL_FIRST.rsplit(".", 1)[1])
        self.balancer: Process | None = None
        self.ingress: Process | None = None
        self.agents = {
            node.name: Process(
                f"kube-proxy-{node.name}",
                node.netns,
                [str(programs / "kube-proxy"), f"--config={node.folder}/kube-proxy.yaml"],
                state / "log" / f"kube-proxy-{node.name}.log",
                {},
            )
            for node in nodes
        }

    def start(self, kubectl: Kubectl) -> None:
        self._ranges = {node.name: _pod_range(kubectl, node) for node in self._nodes}
        for node in self._nodes:
            self.boot(node)

    def boot(self, node: layout.Node) -> None:
        for plugin in ("ptp", "host-local", "portmap"):
            shutil.copy(f"/usr/lib/cni/{plugin}", node.cni_bin)
        for other in self._nodes:
            if other != node:
                run(["ip", "-n", node.netns, "route", "replace", self._ranges[other.name], "via", other.address])
        (node.folder / "kube-proxy.yaml").write_text(_kube_proxy(self._state, node))
        run(in_netns(node.netns, ["nft", "-f", "-"]), stdin=_MASQUERADE)
        (node.cni_conf / "10-baseline.conflist").write_text(json.dumps(_conflist(node, self._ranges[node.name])))
        self.agents[node.name].start()

    def give_address(self, kubectl: Kubectl, namespace: str, service: str) -> None:
        if kubectl.get("service", service, namespace)["status"]["loadBalancer"].get("ingress"):
            return
        address, self._next = f"{layout.NETWORK}.{self._next}", self._next + 1
        status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
        kubectl(
            "-n",
            namespace,
            "patch",
            "service",
            service,
            "--subresource=status",
            "--type=merge",
            "-p",
            json.dumps(status),
        )
        run(["ip", "-n", layout.CLIENT, "route", "replace", address, "via", self._nodes[0].address])


_MASQUERADE = f"""table ip cwe_outside {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {layout.POD_NETWORK} ip daddr != {layout.POD_NETWORK} oifname "eth0" masquerade
  }}
}}
"""


def _pod_range(kubectl: Kubectl, node: layout.Node) -> str:
    def ask() -> str:
        return kubectl("get", "node", node.name, "-o", "jsonpath={.spec.podCIDR}")

    return wait_until(f"{node.name} has a pod range", ask)


def _conflist(node: layout.Node, pod_range: str) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": f"{node.folder}/host-local",
        "ranges": [[{"subnet": pod_range}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "1.0.0",
        "name": "baseline",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": ipam},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kube_proxy(state: Path, node: layout.Node) -> str:
    # it may not write nf_conntrack_max in a namespace that is not the machine's first
    return f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: {layout.POD_NETWORK}
clientConnection: {{kubeconfig: {state}/admin.kubeconfig}}
hostnameOverride: {node.name}
conntrack: {{maxPerCore: 0, min: 0}}
"""
