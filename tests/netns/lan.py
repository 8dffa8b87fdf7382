"""Nodes on one network, each a namespace with an agent of ours, and a container runtime's way to call the plugin."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import NetNs

HERE = Path(__file__).parent
PORT = 7000


def wait_for(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Poll until `what()` is true; its value. Fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return found


@dataclass
class Answer:
    """What the plugin said."""

    status: int
    stdout: str
    seconds: float

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.stdout))

    @property
    def code(self) -> int:
        return int(self.body["code"])

    @property
    def ips(self) -> list[str]:
        return [each["address"].partition("/")[0] for each in self.body["ips"]]


@dataclass
class LanNode:
    """One node: its namespace, its folders, its agent's process."""

    name: str
    ns: NetNs
    number: int
    folder: Path
    manifests: Path
    flags: tuple[str, ...] = ()
    process: "subprocess.Popen[str] | None" = None
    log_before: int = 0
    subnet: int = 70
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def address(self) -> str:
        return f"192.168.{self.subnet}.{10 + self.number}"

    @property
    def address6(self) -> str:
        return f"fd{self.subnet}::{10 + self.number}"

    @property
    def conflist(self) -> Path:
        return self.folder / "net.d" / "10-causeway.conflist"

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    def argv(self, *more: str) -> list[str]:
        folder = self.folder
        return [
            sys.executable, "-m", "causeway", "node", "--node", self.name, "-f", str(self.manifests),
            "--run-dir", str(self.run_dir),
            "--cni-bin-dir", str(folder / "bin"), "--cni-conf-dir", str(folder / "net.d"),
            *self.flags, *more,
        ]  # fmt: skip

    def launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "agent.log", "a") as log:
            self.log_before = log.tell()
            self.process = self.ns.popen(*self.argv(), stdout=log, stderr=log, cwd=HERE.parent.parent)

    def wait_ready(self) -> None:
        # This run's log: a socket and a configuration may be there from an earlier one.
        wait_for(lambda: self.says("pod network ready") and self.conflist.exists())

    def start(self) -> None:
        self.launch()
        self.wait_ready()

    def says(self, text: str) -> bool:
        """Whether this run's log has the text. Fails the test when the agent is dead."""
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return text in self.log[self.log_before :]

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def cni(self, command: str, container: str = "", netns: str = "", **changed: Any) -> Answer:
        """Call the plugin as a runtime does. `changed`: environment variables (CNI_...) and fields of the config."""
        config = self._config()
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(self.folder / "bin"),
        }
        if command in ("DEL", "CHECK") and container in self.results:
            config["prevResult"] = self.results[container]
        for name, value in changed.items():
            (environment if name.startswith("CNI_") else config)[name] = value
        environment = {name: value for name, value in environment.items() if value is not None}
        config = {name: value for name, value in config.items() if value is not None}
        began = time.perf_counter()
        done = subprocess.run(
            self.ns.argv(str(self.folder / "bin" / "causeway-cni")),
            input=json.dumps(config), text=True, capture_output=True, env=environment, timeout=30,
        )  # fmt: skip
        answer = Answer(done.returncode, done.stdout, time.perf_counter() - began)
        assert "Traceback" not in done.stderr, done.stderr
        if command == "ADD" and answer.status == 0:
            self.results[container] = answer.body
        return answer

    def _config(self) -> dict[str, Any]:
        said = json.loads(self.conflist.read_text())
        plugin = dict(said["plugins"][0]) | {"cniVersion": said["cniVersion"], "name": said["name"]}
        del plugin["capabilities"]  # the runtime turns it into runtimeConfig
        return plugin

    def routes(self, family: str = "-4") -> str:
        return self.ns.run("ip", family, "route", "show", "proto", "73")


@dataclass
class Pod:
    """A container's namespace, attached to a node."""

    ns: NetNs
    node: LanNode
    container: str
    ips: list[str] = field(default_factory=list)

    def add(self) -> Answer:
        answer = self.node.cni("ADD", self.container, str(self.ns.path))
        assert answer.status == 0, answer.stdout + self.node.log
        self.ips = answer.ips
        return answer

    def ask(self, address: str, protocol: str = "tcp", port: int = PORT) -> str:
        return seen_from(self.ns, address, protocol, port)


def seen_from(ns: NetNs, address: str, protocol: str = "tcp", port: int = PORT) -> str:
    """Ask a peer server from a namespace which address it sees; "" if it does not answer."""
    argv = [sys.executable, "-IS", str(HERE / "peer_client.py"), protocol, address, str(port)]
    return ns.run(*argv, check=False).strip()


class Lan:
    """A switch with nodes (and other machines) on it: 192.168.70.0/24, fd70::/64. Pods 10.70.N.0/24, fd70:N::/64."""

    def __init__(self, make: Callable[..., NetNs], folder: Path) -> None:
        self.make = make
        self.folder = folder
        self.manifests = folder / "manifests"
        self.manifests.mkdir()
        self.switch = make("switch")
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        self.switch.run("ip", "link", "set", "br0", "up")
        self.nodes: list[LanNode] = []
        self._servers: list[subprocess.Popen[str]] = []
        self._pods = 0

    def machine(self, name: str, number: int) -> NetNs:
        """A machine on the network, 192.168.70.(10 + number)."""
        ns = self.make(name)
        ns.connect("eth0", self.switch, f"to{number}")
        self.switch.run("ip", "link", "set", f"to{number}", "master", "br0")
        ns.run("ip", "addr", "add", f"192.168.70.{10 + number}/24", "dev", "eth0")
        ns.run("ip", "addr", "add", f"fd70::{10 + number}/64", "dev", "eth0", "nodad")
        return ns

    def node(self, number: int, *flags: str, manifest: bool = True) -> LanNode:
        name = f"node{number}"
        ns = self.machine(name, number)
        if manifest:
            self.write_node(number)
        node = LanNode(name, ns, number, self.folder / name, self.manifests, flags)
        self.nodes.append(node)
        return node

    def far_node(self, number: int, *flags: str) -> LanNode:
        """A node behind a router, 192.168.71.(10 + number) and fd71::; the router knows no pods."""
        router = self.machine("router", 90)
        name = f"node{number}"
        ns = self.make(name)
        router.connect("far", ns, "eth0")
        router.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        router.run("ip", "addr", "add", "192.168.71.1/24", "dev", "far")
        router.run("ip", "addr", "add", "fd71::1/64", "dev", "far", "nodad")
        node = LanNode(name, ns, number, self.folder / name, self.manifests, flags, subnet=71)
        ns.run("ip", "addr", "add", f"{node.address}/24", "dev", "eth0")
        ns.run("ip", "addr", "add", f"{node.address6}/64", "dev", "eth0", "nodad")
        ns.run("ip", "route", "add", "default", "via", "192.168.71.1")
        ns.run("ip", "-6", "route", "add", "default", "via", "fd71::1")
        for near in self.nodes:
            near.ns.run("ip", "route", "add", "default", "via", "192.168.70.100")
            near.ns.run("ip", "-6", "route", "add", "default", "via", "fd70::100")
        self.write_node(number, [node.address, node.address6])
        self.nodes.append(node)
        return node

    def write_node(self, number: int, addresses: Sequence[str] = (), **changed: Any) -> None:
        spec = {"podCIDRs": [f"10.70.{number}.0/24", f"fd70:{number}::/64"]} | changed
        addresses = addresses or [f"192.168.70.{10 + number}", f"fd70::{10 + number}"]
        document = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node{number}"},
            "spec": spec,
            "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses]},
        }
        new = self.manifests / f".node{number}"
        new.write_text(json.dumps(document))
        new.rename(self.manifests / f"node{number}.yaml")

    def pod(self, node: LanNode, *, add: bool = True) -> Pod:
        self._pods += 1
        pod = Pod(self.make(f"pod{self._pods}"), node, f"{os.getpid()}-{self._pods:04d}".ljust(64, "0"))
        if add:
            pod.add()
        return pod

    def serve(self, ns: NetNs, port: int = PORT) -> None:
        server = ns.popen(
            sys.executable, "-IS", str(HERE / "peer_server.py"), str(port), stdout=subprocess.PIPE, bufsize=1
        )
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"

    def close(self) -> None:
        for each in self._servers:
            each.kill()
            each.wait()
            assert each.stdout is not None
            each.stdout.close()
        for node in self.nodes:
            node.kill()


@contextlib.contextmanager
def lan_of(make: Callable[..., NetNs], folder: Path) -> Iterator[Lan]:
    lan = Lan(make, folder)
    try:
        yield lan
    finally:
        lan.close()
