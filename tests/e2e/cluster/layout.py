"""Where everything of the cluster is: addresses, namespaces, folders. Everything lies inside namespaces named cwe-*.

cwe-lan: bridge 192.168.88.1/24 ── cwe-control .10   etcd, API server, controller manager, scheduler
                                ├─ cwe-node1   .11   containerd, kubelet, the parts under test
                                ├─ cwe-node2   .12
                                └─ cwe-client  .9    a client outside: no route to pods or ClusterIPs
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PREFIX = "cwe-"
LAN, CLIENT, CONTROL = f"{PREFIX}lan", f"{PREFIX}client", f"{PREFIX}control"
NETWORK = "192.168.88"
CLIENT_ADDRESS, CONTROL_ADDRESS, LAN_ADDRESS = f"{NETWORK}.9", f"{NETWORK}.10", f"{NETWORK}.1"
POOL_FIRST, POOL_LAST = f"{NETWORK}.200", f"{NETWORK}.219"
POD_NETWORK, SERVICE_NETWORK = "10.244.0.0/16", "10.96.0.0/16"
API_SERVICE_ADDRESS, DNS_ADDRESS = "10.96.0.1", "10.96.0.10"
API_SERVER = f"https://{CONTROL_ADDRESS}:6443"
SOCKETS = Path("/run/causeway-e2e")


@dataclass(frozen=True)
class Node:
    """Node number N, counted from 1."""

    number: int
    state: Path

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def netns(self) -> str:
        return PREFIX + self.name

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    @property
    def folder(self) -> Path:
        return self.state / self.name

    @property
    def sockets(self) -> Path:
        return SOCKETS / self.name

    @property
    def runtime_socket(self) -> Path:
        return self.sockets / "containerd.sock"

    @property
    def cni_bin(self) -> Path:
        return self.folder / "cni/bin"

    @property
    def cni_conf(self) -> Path:
        return self.folder / "cni/net.d"


def cache_folder() -> Path:
    """$CAUSEWAY_E2E_CACHE, or ~/.cache/causeway-e2e: built programs and, while a cluster is up, its state."""
    given = os.environ.get("CAUSEWAY_E2E_CACHE")
    return Path(given).resolve() if given else Path.home() / ".cache/causeway-e2e"
