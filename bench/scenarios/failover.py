"""Two nodes share a load-balancer address and the one that has it dies: how long nobody answers. Needs root."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import native
from bench.scenarios import Finding, ScenarioFailed, documents
from bench.scenarios.network import PORT, Agent, Namespace, agent, namespace
from bench.scenarios.stage import await_true, write

VIP, BACKEND, CLIENT = "192.168.77.200", 50, 60
NODES = {"n1": 11, "n2": 12}

_ASKING = """
import socket, sys, time
# A new connection every 5 ms, given up after 100 ms; prints when each that was answered began.
while True:
    began = time.monotonic()
    with socket.socket() as client:
        client.settimeout(0.1)
        try:
            client.connect((sys.argv[1], 80))
            client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
            if client.recv(100):
                print(began, flush=True)
        except OSError:
            pass
    time.sleep(0.005)
"""


def fail_over(full: bool) -> Finding:
    """The node with the address is cut off and its agent killed; the other one takes over."""
    gaps = [_one_death() for _ in range(7 if full else 2)]
    return Finding(
        {
            "deaths": len(gaps),
            "nobody answers for, median, ms": round(sorted(gaps)[len(gaps) // 2] * 1000),
            "nobody answers for, longest, ms": round(max(gaps) * 1000),
        }
    )


def _one_death() -> float:
    """Seconds from the last answer before to the first after the death."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="causeway-bench-")))
        switch = stack.enter_context(namespace())
        switch.run("ip", "link", "add", "br0", "type", "bridge")
        switch.run("ip", "link", "set", "br0", "up")
        machines = {name: stack.enter_context(_machine(switch, number)) for name, number in _all_machines().items()}
        stack.enter_context(_running(machines["backend"], [str(native.program("endpoint")), str(PORT), "any=1"]))
        agents = [stack.enter_context(_agent(machines[name], folder, name)) for name in NODES]
        write(folder / "manifests", "service.yaml", _service())
        asking = stack.enter_context(_running(machines["client"], [sys.executable, "-ISc", _ASKING, VIP]))
        assert asking.stdout is not None
        first = asking.stdout.readline()
        holder = _holder(agents)
        holder.ns.run("ip", "link", "set", "eth0", "down")
        holder.process.kill()
        times = [float(first)]
        while len(times) < 10 or max(b - a for a, b in pairwise(times)) < 0.05:
            times.append(float(asking.stdout.readline()))
            if times[-1] - times[0] > 30:
                raise ScenarioFailed("the address was answered for 30 s as if no node had died")
        return max(later - earlier for earlier, later in pairwise(times))


def _all_machines() -> dict[str, int]:
    return {**NODES, "backend": BACKEND, "client": CLIENT}


@contextlib.contextmanager
def _machine(switch: Namespace, number: int) -> Iterator[Namespace]:
    """A machine on the switch: 192.168.77.NUMBER."""
    with namespace() as made:
        peer = ["peer", "name", "eth0", "netns", str(made.holder)]
        switch.run("ip", "link", "add", f"to{number}", "type", "veth", *peer)
        switch.run("ip", "link", "set", f"to{number}", "master", "br0", "up")
        made.run("ip", "link", "set", "eth0", "up")
        made.run("ip", "addr", "add", f"192.168.77.{number}/24", "dev", "eth0")
        yield made


@contextlib.contextmanager
def _running(ns: Namespace, argv: list[str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(ns.argv(*argv), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _agent(ns: Namespace, folder: Path, name: str) -> Iterator[Agent]:
    """An agent with a folder of its own that shares the manifests."""
    manifests = folder / "manifests"
    manifests.mkdir(exist_ok=True)
    number = NODES[name]
    write(manifests, f"{name}.yaml", [documents.node(name, f"192.168.77.{number}", f"10.77.{number}.0/24")])
    (folder / name).mkdir()
    (folder / name / "manifests").symlink_to(manifests)
    with agent(ns, folder / name, name) as made:
        made.await_ready()
        yield made


def _service() -> list[documents.Document]:
    service = documents.service("web", "10.96.0.10", PORT, type="LoadBalancer")
    status: dict[str, Any] = {"status": {"loadBalancer": {"ingress": [{"ip": VIP}]}}}
    return [service | status, documents.endpoints("web", PORT, addresses=[f"192.168.77.{BACKEND}"])]


def _holder(agents: list[Agent]) -> Agent:
    """The one agent that announces the address."""

    def holders() -> list[Agent]:
        return [each for each in agents if _announces(each.folder / "run" / "announced.json")]

    await_true(lambda: len(holders()) == 1, 30, "one node announcing the address")
    return holders()[0]


def _announces(state: Path) -> bool:
    return state.exists() and any(each["here"] for each in json.loads(state.read_text())["addresses"])
