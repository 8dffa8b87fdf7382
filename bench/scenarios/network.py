"""The node agent in a network namespace of its own: Services in the kernel, pods coming and going. Needs root."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import native
from bench.peers.process import python_env
from bench.scenarios import Finding, ScenarioFailed, Skipped, documents
from bench.scenarios.stage import await_true, is_root, write

ADDRESS = "192.168.77.1"
POD_ADDRESSES = [f"192.168.77.{number}" for number in range(1, 5)]
PORT = 8000

_CONNECT = """
import socket, sys, time
for line in sys.stdin:
    address, wanted, seconds = line.split()
    began, found = time.perf_counter(), ""
    while time.perf_counter() - began < float(seconds):
        try:
            with socket.create_connection((address, 80), timeout=0.5) as made:
                made.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
                found = made.recv(4096).decode().partition("X-Endpoint: ")[2].partition("\\r")[0]
        except OSError:
            pass
        if found and wanted in ("any", found):
            break
        time.sleep(0.0005)
    print(time.perf_counter() - began if wanted in ("any", found) and found else -1, flush=True)
"""


@dataclass
class Namespace:
    """A network namespace that lives as long as its holder."""

    holder: int

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *argv]

    def run(self, *argv: str) -> str:
        done = subprocess.run(self.argv(*argv), capture_output=True, text=True)
        if done.returncode:
            raise ScenarioFailed(f"{' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout


@contextlib.contextmanager
def namespace() -> Iterator[Namespace]:
    if not is_root():
        raise Skipped("needs root: makes network namespaces")
    argv = ["unshare", "--net", "--kill-child", "sh", "-c", "echo ready; exec sleep 1800"]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        holder.stdout.readline()
        made = Namespace(holder.pid)
        made.run("ip", "link", "set", "lo", "up")
        yield made
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@dataclass
class Agent:
    """`causeway node` running in a namespace."""

    ns: Namespace
    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def await_ready(self) -> None:
        def ready() -> bool:
            if self.process.poll() is not None:
                raise ScenarioFailed(f"the agent ended with status {self.process.returncode}: {self.log[-600:]}")
            return "pod network ready" in self.log and self.conflist.exists()

        await_true(ready, 60, "the pod network")

    @property
    def conflist(self) -> Path:
        return self.folder / "net.d" / "10-causeway.conflist"

    def cni(self, command: str, container: str, netns: str) -> float:
        """Call the plugin as a container runtime does; seconds it took."""
        said = json.loads(self.conflist.read_text())
        plugin = dict(said["plugins"][0]) | {"cniVersion": said["cniVersion"], "name": said["name"]}
        plugin.pop("capabilities", None)
        environment = {
            "PATH": os.environ["PATH"], "CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": netns,
            "CNI_IFNAME": "eth0", "CNI_PATH": str(self.folder / "bin"),
        }  # fmt: skip
        began = time.perf_counter()
        argv = self.ns.argv(str(self.folder / "bin" / "causeway-cni"))
        done = subprocess.run(argv, input=json.dumps(plugin), capture_output=True, text=True, env=environment)
        if done.returncode:
            raise ScenarioFailed(f"CNI {command}: {done.stdout.strip()} {done.stderr.strip()}")
        return time.perf_counter() - began


@contextlib.contextmanager
def agent(ns: Namespace, folder: Path, name: str = "n1") -> Iterator[Agent]:
    argv = [
        sys.executable, "-m", "causeway", "node", "--node", name, "-f", str(folder / "manifests"),
        "--run-dir", str(folder / "run"), "--cni-bin-dir", str(folder / "bin"), "--cni-conf-dir", str(folder / "net.d"),
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(ns.argv(*argv), stdout=log, stderr=log, env=python_env())
    try:
        yield Agent(ns, folder, process)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def prepared() -> Iterator[tuple[Namespace, Path]]:
    """A namespace with the node's addresses, and a folder with its Node object."""
    with namespace() as ns, tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch:
        folder = Path(scratch)
        (folder / "manifests").mkdir()
        ns.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        ns.run("ip", "link", "set", "wire", "up")
        ns.run("ip", "link", "set", "eth0", "up")
        for address in POD_ADDRESSES:
            ns.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        # Without a route to it a ClusterIP is refused before it is looked at.
        ns.run("ip", "route", "add", "default", "dev", "eth0")
        write(folder / "manifests", "node.yaml", [documents.node("n1", ADDRESS, "10.77.0.0/24")])
        yield ns, folder


def service_dataplane(full: bool) -> Finding:
    """So many Services of four endpoints: load, first connection, and the latency of a change."""
    count = 10_000 if full else 1_000
    with prepared() as (ns, folder), endpoints(ns), contextlib.ExitStack() as stack:
        manifests = folder / "manifests"
        for first in range(0, count, 500):
            some = [each for n in range(first, min(first + 500, count)) for each in service(n)]
            write(manifests, f"services-{first}.yaml", some)
        write(manifests, "changing.yaml", service(count))
        asking = stack.enter_context(client(ns))
        began = time.perf_counter()
        made = stack.enter_context(agent(ns, folder))
        last, changing = address(count - 1), address(count)
        if connect(asking, last, "any", 300) < 0:
            raise ScenarioFailed(f"the last Service did not answer within 300 s: {made.log[-600:]}")
        loaded = time.perf_counter() - began
        if connect(asking, changing, "any", 60) < 0:
            raise ScenarioFailed("the changing Service did not answer within 60 s")
        firsts = sorted(connect(asking, address(n * 37 % count), "any", 5) for n in range(200))
        changes = []
        for number in range(7):
            port = (PORT + 1, PORT)[number % 2]
            write(manifests, "changing.yaml", service(count, port))
            changes.append(connect(asking, changing, str(port), 20))
        if min(changes[0], firsts[0]) < 0:
            raise ScenarioFailed("a Service did not answer")
    return Finding(
        {
            "Services": count,
            "endpoints": 4 * count,
            "agent's start to the last Service's answer, s": round(loaded, 2),
            "connection and answer, median, ms": round(firsts[len(firsts) // 2] * 1000, 3),
            "changed endpoints to answer, median, ms": round(sorted(changes)[3] * 1000, 1),
        }
    )


@contextlib.contextmanager
def endpoints(ns: Namespace) -> Iterator[None]:
    """Endpoints on all of the node's addresses, at PORT and the one after it."""
    with contextlib.ExitStack() as stack:
        for port in (PORT, PORT + 1):
            argv = ns.argv(str(native.program("endpoint")), str(port), "any=1")
            server = subprocess.Popen(argv, stdout=subprocess.PIPE)
            assert server.stdout is not None
            stack.callback(server.stdout.close)
            stack.callback(server.wait)
            stack.callback(server.kill)
            server.stdout.readline()  # it listens
        yield


def service(number: int, port: int = PORT) -> list[documents.Document]:
    name = f"s{number}"
    return [documents.service(name, address(number), port), documents.endpoints(name, port, addresses=POD_ADDRESSES)]


def address(number: int) -> str:
    return f"10.96.{1 + number // 250}.{1 + number % 250}"


@contextlib.contextmanager
def client(ns: Namespace) -> Iterator["subprocess.Popen[str]"]:
    argv = ns.argv(sys.executable, "-ISc", _CONNECT)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def connect(asking: "subprocess.Popen[str]", vip: str, wanted: str, seconds: float) -> float:
    """Seconds until `vip` was answered by the endpoint `wanted`; -1 if it was not."""
    assert asking.stdin is not None
    assert asking.stdout is not None
    asking.stdin.write(f"{vip} {wanted} {seconds}\n")
    asking.stdin.flush()
    return float(asking.stdout.readline())


def pods(full: bool) -> Finding:
    """CNI ADD and DEL, one after the other, each with a new network namespace."""
    count = 200 if full else 30
    with prepared() as (ns, folder), agent(ns, folder) as made:
        made.await_ready()
        adds, deletes = [], []
        for number in range(count):
            container = f"{os.getpid()}-{number:04d}".ljust(64, "0")
            with namespace() as pod:
                netns = f"/proc/{pod.holder}/ns/net"
                adds.append(made.cni("ADD", container, netns))
                deletes.append(made.cni("DEL", container, netns))
        left = re.findall(r"\bcw\w+", made.ns.run("ip", "-o", "link"))
        if left:
            raise ScenarioFailed(f"links are left behind: {left[:3]}")
    return Finding({"pods": count, **_spread("ADD", adds), **_spread("DEL", deletes)})


def _spread(what: str, seconds: list[float]) -> dict[str, Any]:
    ordered = sorted(seconds)
    return {
        f"{what}, median, ms": round(ordered[len(ordered) // 2] * 1000, 1),
        f"{what}, slowest, ms": round(ordered[-1] * 1000, 1),
    }
