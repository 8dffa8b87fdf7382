"""The cluster as tests see it: bring-up, the parts under test, kubectl, commands of the client outside."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO

from . import control_plane, dns, image, layout, leftovers, machine, needs, network, pki, programs
from .kubectl import Kubectl, system_kubectl, wait_until
from .parts import CAUSEWAY, Baseline, Causeway, Parts
from .processes import Process, in_netns, run


class NotPossible(Exception):
    """The machine lacks what only its operator can give, or another run goes on; the text says what."""


class Cluster:
    """A running cluster. Make it by `bring_up`; `take_down` removes every trace."""

    def __init__(self, folder: Path, node_count: int, *, baseline: bool) -> None:
        self.programs, self.state = folder / "bin", folder / "run"
        self.baseline = baseline
        self.nodes = [layout.Node(number, self.state) for number in range(1, node_count + 1)]
        self.kubectl = Kubectl(system_kubectl() or self.programs / "kubectl", self.state / "admin.kubeconfig")
        self.parts: Parts = (
            Baseline(self.programs, self.state, self.nodes) if baseline else Causeway(self.state, self.nodes)
        )
        self.control: dict[str, Process] = {}
        self.machines: dict[str, tuple[Process, Process]] = {}

    def start(self, say: Callable[[str], None]) -> None:
        """Starts everything and waits until the nodes are Ready and names resolve."""
        (self.state / "log").mkdir(parents=True)
        network.build(self.nodes)
        machine.share_mounts()
        control_plane.make_keys(self.state, self.nodes)
        self.control = control_plane.processes(self.programs, self.state)
        self.machines = {node.name: machine.processes(self.programs, self.state, node) for node in self.nodes}
        for name in ("etcd", "kube-apiserver"):
            self.control[name].start()
        with ThreadPoolExecutor() as pool:  # the image is read in while the API server starts
            imports = [pool.submit(self._start_containerd, node) for node in self.nodes]
            self.wait("the API server answers", lambda: self.kubectl("get", "--raw", "/readyz"), 60)
            for name in ("kube-controller-manager", "kube-scheduler"):
                self.control[name].start()
            for done in imports:
                done.result()
        for _, kubelet in self.machines.values():
            kubelet.start()
        self.parts.start(self.kubectl)
        say("waiting for nodes to be Ready")
        self.wait("all nodes are Ready", self.nodes_ready, 60)
        self.kubectl.apply(*dns.objects())
        self.kubectl.rolled_out("coredns", "kube-system")
        dead = [process.name for process in self.processes() if not process.alive]
        if dead:
            raise RuntimeError(f"{', '.join(dead)} ended at once")

    def wait(self, what: str, ask: Callable[[], Any], timeout: float = 30) -> Any:
        """`wait_until`, and the logs of processes that have died are part of the message."""
        try:
            return wait_until(what, ask, timeout)
        except TimeoutError as error:
            dead = [p for p in self.processes() if not p.alive]
            ends = "".join(f"\n--- {p.name} is not running; the end of {p.log}:\n{p.log_end(600)}" for p in dead)
            raise TimeoutError(f"{error}{ends}") from None

    def processes(self) -> list[Process]:
        """Every process that should run."""
        machines = [process for pair in self.machines.values() for process in pair]
        parts = [*self.parts.agents.values(), self.parts.balancer, self.parts.ingress]
        return [*self.control.values(), *machines, *(part for part in parts if part)]

    def nodes_ready(self) -> bool:
        """True if every node is Ready."""
        found = self.kubectl.all("nodes", "default")
        ready = [n for n in found if {"Ready": "True"} in [{c["type"]: c["status"]} for c in n["status"]["conditions"]]]
        return len(ready) == len(self.nodes)

    def diagnosis(self) -> str:
        """Pods, late events and the ends of our parts' logs, for the report of a failed test."""
        parts = [*self.parts.agents.values(), self.parts.balancer, self.parts.ingress]
        said = []
        for what in (["get", "pods", "-A", "-o", "wide"], ["get", "events", "-A", "--sort-by=.lastTimestamp"]):
            try:
                lines = self.kubectl(*what, timeout=10).splitlines()
            except RuntimeError as error:
                lines = str(error).splitlines()
            said += lines[:1] + lines[1:][-25:]
        for part in parts:
            if part:
                said.append(f"--- {part.name} ({'running' if part.alive else 'not running'}), end of its log:")
                said.append(part.log_end())
        return "\n".join(said)

    def client(self, *argv: str, timeout: float = 30, check: bool = True) -> str:
        """Runs a command at the client outside; its standard output."""
        return run(in_netns(layout.CLIENT, argv), timeout=timeout, check=check).stdout

    def on_node(self, node: layout.Node, *argv: str, check: bool = True) -> str:
        """Runs a command in a node's network namespace; its standard output."""
        return run(in_netns(node.netns, argv), check=check).stdout

    def crash(self, node: layout.Node) -> None:
        """All of a node ends at once, as by a power cut: processes, pods, and what its kernel was told."""
        for process in (*self.machines[node.name], self.parts.agents[node.name]):
            process.end()
        leftovers.kill_marked(self.machines[node.name][0].name)  # containerd's shims
        leftovers.remove_containers(node.sockets)
        self.on_node(node, "nft", "flush", "ruleset")
        self.on_node(node, "ip", "route", "flush", "root", layout.POD_NETWORK)
        for link in self.pod_links(node):
            self.on_node(node, "ip", "link", "del", link, check=False)

    def boot(self, node: layout.Node) -> None:
        """Starts the node's processes again."""
        containerd, kubelet = self.machines[node.name]
        containerd.start()
        self.parts.boot(node)
        self._containerd_answers(node)
        kubelet.start()

    def load_image(self, node: layout.Node, archive: Path) -> None:
        """Gives an image to a node's container runtime, in place of a registry."""
        run([*self._ctr(node), "images", "import", str(archive)], timeout=120)

    def pod_links(self, node: layout.Node) -> set[str]:
        """Names of a node's links towards pods."""
        told = self.on_node(node, "ip", "-o", "link", "show", "type", "veth")
        return {line.split(": ")[1].split("@")[0] for line in told.splitlines()} - {"eth0"}

    def node(self, name: str) -> layout.Node:
        return next(node for node in self.nodes if node.name == name)

    def load_balancer_address(self, namespace: str, service: str, timeout: float = 20) -> str:
        """Waits until the Service's status has an address."""

        def ask() -> str:
            self.parts.give_address(self.kubectl, namespace, service)
            given = self.kubectl.get("service", service, namespace)["status"]["loadBalancer"].get("ingress", [])
            return str(given[0]["ip"]) if given else ""

        return str(self.wait(f"Service {namespace}/{service} has a load-balancer address", ask, timeout))

    def _start_containerd(self, node: layout.Node) -> None:
        self.machines[node.name][0].start()
        self._containerd_answers(node)
        self.load_image(node, self.programs / "image.tar")

    def _containerd_answers(self, node: layout.Node) -> None:
        self.wait(f"containerd of {node.name} answers", lambda: run([*self._ctr(node), "version"]).stdout)

    def _ctr(self, node: layout.Node) -> list[str]:
        return [str(self.programs / "ctr"), "-a", str(node.runtime_socket), "-n", "k8s.io"]


def wanted_modules(*, baseline: bool) -> Sequence[programs.Module]:
    return programs.modules(with_kubectl=system_kubectl() is None, with_kube_proxy=baseline)


def lacking(folder: Path, *, baseline: bool) -> list[str]:
    """What keeps a cluster from coming up on this machine; empty if nothing."""
    built = programs.all_built(wanted_modules(baseline=baseline), folder / "bin")
    found = needs.missing(go_needed=not built)
    if not baseline and not CAUSEWAY.exists():
        found.append(f"{CAUSEWAY}: `make venv` makes it")
    return found


def prepare(folder: Path, say: Callable[[str], None], *, baseline: bool) -> None:
    """Installs packages and builds programs and the image. Raises NotPossible, BuildFailed, RuntimeError."""
    absent = lacking(folder, baseline=baseline)
    if absent:
        raise NotPossible("this machine lacks:\n" + "\n".join(f"  * {what}" for what in absent))
    with ThreadPoolExecutor(1) as pool:
        installing = pool.submit(needs.install_packages, baseline=baseline)
        programs.build(wanted_modules(baseline=baseline), folder / "bin", say)
        installing.result()
    pki.self_signed(folder / "bin", "localhost")
    files = image.pod_files(folder / "bin", folder / "bin/localhost.crt", folder / "bin/localhost.key")
    image.pack(folder / "bin/image.tar", files)


def only_run() -> TextIO:
    """Takes the machine's lock for end-to-end runs; it is let go when the file is closed or the process ends.

    Raises NotPossible if another run holds it.
    """
    layout.SOCKETS.mkdir(exist_ok=True)
    lock = (layout.SOCKETS / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise NotPossible(f"another end-to-end run is going on: process {lock.read().strip()}") from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
