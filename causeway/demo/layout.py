"""Names, addresses and paths of one demo.

A demo has a name. "cwd" is the demo; tests give theirs another, so that several can run side by side. Everything a
demo makes is found again by that name alone: namespaces `NAME-*`, one folder, a mark in its processes' environment.
"""

import re
from dataclasses import dataclass
from pathlib import Path

DEFAULT_NAME = "cwd"
NAME = re.compile(r"[a-z][a-z0-9]{0,11}")

INTERNET = "internet"
ROUTER = "router"

# Documentation prefixes (RFC 5737): they are nobody's, so a printed address is never mistaken for a real one.
CLIENT_IP = "203.0.113.9"
SERVER_IP = "203.0.113.80"
SERVER_PORT = 8080
INTERNET_GATEWAY = "203.0.113.1"
LAN_GATEWAY = "192.0.2.1"
LAN_PREFIX_LENGTH = 24
POOL_NAME = "public"
POOL = "192.0.2.100-192.0.2.119"

MARK = "CAUSEWAY_DEMO"
"""Environment variable of every process of a demo; its value is the demo's name."""


@dataclass(frozen=True)
class Wish:
    """What the flags of `causeway demo` ask for."""

    manifests: Path
    """The folder to begin with; it is copied."""
    pod_network: str
    """`causeway node --pod-network`."""
    check: bool
    """End after the checks instead of staying up."""
    command: str
    """How to call `causeway` from any folder."""


@dataclass(frozen=True)
class Layout:
    """Where everything of the demo called `name` is."""

    name: str = DEFAULT_NAME
    run: Path = Path("/run")

    @property
    def folder(self) -> Path:
        return self.run / ("causeway-demo" if self.name == DEFAULT_NAME else f"causeway-demo-{self.name}")

    @property
    def manifests(self) -> Path:
        """What everybody reads; the user may edit it."""
        return self.folder / "manifests"

    @property
    def generated(self) -> Path:
        """Pods and EndpointSlices, which a cluster's control plane would write."""
        return self.manifests / "generated"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def prefix(self) -> str:
        """How the names of all its namespaces begin."""
        return f"{self.name}-"

    def netns(self, what: str) -> str:
        return self.prefix + what

    def pod_netns(self, namespace: str, pod: str) -> str:
        return f"{self.prefix}{namespace}-{pod}"

    def netns_path(self, netns: str) -> Path:
        return Path("/run/netns") / netns

    @property
    def hosts_folder(self) -> Path:
        """`ip netns exec` lays what is in here over /etc: so the internet knows the demo's host names."""
        return Path("/etc/netns") / self.netns(INTERNET)

    def node_folder(self, node: str) -> Path:
        return self.folder / "nodes" / node

    def node_run(self, node: str) -> Path:
        return self.node_folder(node) / "run"

    def cni_bin(self, node: str) -> Path:
        return self.node_folder(node) / "cni" / "bin"

    def cni_conf(self, node: str) -> Path:
        return self.node_folder(node) / "cni" / "net.d"
