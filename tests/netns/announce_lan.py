"""A LAN with a client and three nodes, on which addresses are announced; shared by tests of announcing.

Who answers is asked with ARP requests and neighbour solicitations on the wire. The addresses are also on each node's lo
(with arp_ignore, so that the kernel does not answer for them), standing in for the Service data plane: so a ping shows
which node the client's traffic reaches, and how long it reached none.
"""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lb.balancer.elect import elect
from tests.conftest import NetNs

V4 = [f"192.0.2.{each}" for each in range(200, 206)]
V6 = "2001:db8::200"
NODES = ("node-a", "node-b", "node-c")
DEADLINE_SECONDS = 15.0
FAIL_OVER_SECONDS_MAX = 3.0
"""Measured about 1; other work on the machine gets some room."""

NODE = """\
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {labels}}}
status:
  addresses: [{{type: InternalIP, address: {ip}}}]
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{type: LoadBalancer, externalTrafficPolicy: {policy}, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{ingress}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: {kind}
ports: [{{port: 8080}}]
endpoints: [{endpoints}]
"""


class Lan:
    """The LAN, its nodes and the client."""

    def __init__(self, make: Callable[..., NetNs], folder: Path) -> None:
        self.folder = folder / "manifests"
        self.folder.mkdir()
        self.switch = make("switch")
        self.switch.run("ip", "link", "add", "br0", "type", "bridge")
        self.switch.run("ip", "link", "set", "br0", "up")
        self.nodes = {name: make(name) for name in NODES}
        self.client = make("client")
        for number, (name, each) in enumerate([*self.nodes.items(), ("client", self.client)], start=1):
            self._plug(number, name, each)
        self.ips = {name: f"192.0.2.{number}" for number, name in enumerate(NODES, start=1)}
        for name in NODES:
            self.write_node(name)
        self.agents: dict[str, subprocess.Popen[str]] = {}
        self._logs = folder
        own = ("192.0.2.4", "2001:db8::4")
        command = (sys.executable, "-m", "tests.netns.asker", "eth0", *own)
        self.asker = self.client.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _plug(self, number: int, name: str, each: NetNs) -> None:
        each.connect("eth0", self.switch, f"port{number}")
        self.switch.run("ip", "link", "set", f"port{number}", "master", "br0")
        each.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        each.run("ip", "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")
        if name != "client":
            each.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1")
            for address in [*V4, V6]:
                each.run("ip", "address", "add", address, "dev", "lo")
            # What a pod has: an interface of its own, with no address of the node.
            each.run("ip", "link", "add", "pod0", "type", "veth", "peer", "name", "pod0-in")
            each.run("ip", "link", "set", "pod0", "up")
            each.run("ip", "link", "set", "pod0-in", "up")

    def write_node(self, name: str, labels: str = "{}") -> None:
        self._write(f"{name}.yaml", NODE.format(name=name, ip=self.ips[name], labels=labels))

    def write_service(self, name: str, *addresses: str, on: tuple[str, ...] = NODES, policy: str = "Cluster") -> None:
        ingress = ", ".join(f"{{ip: '{each}'}}" for each in addresses)
        kind = "IPv6" if ":" in addresses[0] else "IPv4"
        endpoint = "fd00::1" if kind == "IPv6" else "10.0.0.1"
        endpoints = ", ".join(f"{{addresses: ['{endpoint}'], nodeName: {each}}}" for each in on)
        text = SERVICE.format(name=name, ingress=ingress, endpoints=endpoints, policy=policy, kind=kind)
        self._write(f"{name}.yaml", text)

    def _write(self, name: str, text: str) -> None:
        new = self.folder / f".{name}"
        new.write_text(text)
        new.rename(self.folder / name)

    def start(self, *names: str) -> None:
        for name in names:
            command = (
                sys.executable,
                "-m",
                "tests.netns.announcer",
                str(self.folder),
                name,
                str(self.state_file(name)),
            )
            with open(self._logs / f"{name}.log", "a") as log:
                self.agents[name] = self.nodes[name].popen(*command, stderr=log)

    def stop(self, name: str, number: int) -> None:
        self.agents[name].send_signal(number)
        self.agents.pop(name).wait(10)

    def state_file(self, name: str) -> Path:
        return self._logs / f"{name}.json"

    def state(self, name: str) -> dict[str, object]:
        found = json.loads(self.state_file(name).read_text())
        assert isinstance(found, dict)
        return found

    def mac(self, name: str) -> str:
        shown = json.loads(self.nodes[name].run("ip", "-j", "link", "show", "eth0"))
        return str(shown[0]["address"])

    def holders(self, address: str) -> list[str]:
        """The nodes that answer for an address, one entry per answer."""
        assert self.asker.stdin is not None
        assert self.asker.stdout is not None
        self.asker.stdin.write(address + "\n")
        self.asker.stdin.flush()
        names = {self.mac(name): name for name in NODES}
        return [names[mac] for mac in self.asker.stdout.readline().split()]

    def wait_for(self, address: str, *expected: str, for_seconds: float = 0.0) -> None:
        """Wait until exactly these answer; then see that it stays so for a while."""
        until = time.monotonic() + DEADLINE_SECONDS
        while (found := self.holders(address)) != list(expected):
            assert time.monotonic() < until, f"{address}: {found} answer, expected {expected}; {self.logs()}"
        until = time.monotonic() + for_seconds
        while time.monotonic() < until:
            assert self.holders(address) == list(expected)

    def wait_until(self, true: Callable[[], object]) -> None:
        until = time.monotonic() + DEADLINE_SECONDS
        while not true():
            assert time.monotonic() < until, self.logs()
            time.sleep(0.02)

    def log(self, name: str) -> str:
        return (self._logs / f"{name}.log").read_text()

    def logs(self) -> str:
        return "\n".join(f"{name}: {self.log(name)}" for name in self.agents)

    def neighbour(self, address: str) -> str | None:
        """The node at which the client's own kernel believes the address to be."""
        shown = json.loads(self.client.run("ip", "-j", "neigh", "show", address) or "[]")
        macs = {self.mac(name): name for name in NODES}
        return macs.get(shown[0].get("lladdr", "")) if shown else None

    def end(self) -> None:
        for process in [*self.agents.values(), self.asker]:
            process.kill()
            process.wait()


def winner(address: str, *candidates: str) -> str:
    found = elect(address, candidates or NODES)
    assert found is not None
    return found


class Ping:
    """A ping every 20 ms; how long it went without an answer."""

    _ANSWER = re.compile(r"^\[([0-9.]+)\].*bytes from")

    def __init__(self, lan: Lan, address: str) -> None:
        command = ("ping", "-D", "-i", "0.02", "-W", "1", "-w", "25", address)
        environment = {**os.environ, "LC_ALL": "C"}
        self._process = lan.client.popen(*command, stdout=subprocess.PIPE, env=environment, bufsize=1)
        self._times: list[float] = []
        self._read_until(0.0)

    def _read_until(self, moment: float) -> None:
        assert self._process.stdout is not None
        while not self._times or self._times[-1] <= moment:
            line = self._process.stdout.readline()
            assert line, "ping has ended"
            if found := self._ANSWER.match(line):
                self._times.append(float(found[1]))

    def end(self) -> float:
        """Wait for one more answer and stop; the longest time in seconds between two answers."""
        self._read_until(time.time())
        self._process.kill()
        self._process.communicate()
        return max(later - earlier for earlier, later in itertools.pairwise(self._times))
