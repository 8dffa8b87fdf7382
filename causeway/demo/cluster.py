"""The whole demo cluster: namespaces, agents, balancer, pods; and a node that stops and comes back."""

import asyncio
import contextlib
import ipaddress
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import yaml

from causeway.demo import cni, echo, netns, processes, topology
from causeway.demo.control import Control
from causeway.demo.layout import INTERNET, POOL, POOL_NAME, ROUTER, SERVER_IP, SERVER_PORT, Layout, Wish
from causeway.demo.node_watch import watch_nodes
from causeway.demo.questions import SHOP_HOST, Facts, PodFact
from causeway.demo.show import Show
from causeway.demo.topology import NodePlace
from lb.cluster.manifests import ManifestFolder
from lb.cluster.objects import (
    Ingress,
    IngressStatus,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Node,
    Service,
)
from lb.cluster.status import FolderStatus
from lb.cluster.store import ObjectStore
from lb.files import replace_file

AGENT_LIMIT_S = 20.0
PODS_LIMIT_S = 40.0
ADDRESS_LIMIT_S = 15.0
POLL_S = 0.05
RESTART_PAUSE_S = 1.0
PROXY_SERVICE = ("ingress", "proxy")


class NotThere(Exception):
    """Something that must come up did not."""


def read_nodes(folder: Path) -> tuple[list[NodePlace], list[str]]:
    """The Nodes of the manifests, and what is wrong with the manifests. Raises NotThere without a usable Node."""
    store = ObjectStore()
    source = ManifestFolder(folder, store)
    source.load()
    problems = [str(each) for each in source.problems]
    found = [
        NodePlace(node.metadata.name, node.internal_ips[0], node.pod_cidrs[0])
        for node in store.all(Node)
        if node.internal_ips and node.pod_cidrs
    ]
    if not found:
        reasons = "".join(f"\n  {each}" for each in problems)
        raise NotThere(f"no Node with an InternalIP and a podCIDR in {folder}/*.yaml, and nodes are needed{reasons}")
    return sorted(found, key=lambda node: ipaddress.ip_address(node.ip)), problems


class Cluster:
    """One demo's cluster. Nothing here cleans up: that is RunFolder.sweep, which works whatever has happened."""

    def __init__(self, layout: Layout, wish: Wish, show: Show) -> None:
        self.layout = layout
        self.wish = wish
        self.show = show
        self.nodes, self.problems = read_nodes(wish.manifests)
        self.control = Control(layout, self.nodes, show.note)
        self.programs: dict[str, processes.Program] = {}
        self.stopped: set[str] = set()
        """Names of programs that are not running on purpose."""
        self.background: list[asyncio.Task[None]] = []

    # -- up

    async def build(self) -> None:
        """From nothing to pods that answer. Raises what may go wrong: Died, NotThere, NotReady, CommandFailed, ..."""
        with self.show.step(f"namespaces and cables: {', '.join(self.places())}"):
            await self.build_network()
        with self.show.step(f"agents on {', '.join(node.name for node in self.nodes)}; balancer with the pool {POOL}"):
            await self.start_programs()
        with self.show.step("pods attached by the CNI plugin, started and ready"):
            self.spawn(self.control.run())
            await self.control.until_settled(PODS_LIMIT_S)
        self.show.pods(self.pods())
        with self.show.step("the load-balancer address is given and answered"):
            await self.until_address()
            await self.publish_address()
        self.spawn(watch_nodes(self.layout.netns(ROUTER), self.nodes, self.control.set_node))
        for name in list(self.programs):
            self.spawn(self.keep(name))

    def places(self) -> list[str]:
        return [INTERNET, ROUTER, *(node.name for node in self.nodes)]

    async def build_network(self) -> None:
        for path in sorted(self.wish.manifests.glob("*.y*ml")):
            shutil.copyfile(path, self.layout.manifests / path.name)
        await self.make_certificate()
        await netns.apply(topology.add_namespaces([self.layout.netns(each) for each in self.places()]))
        for batch in topology.links(self.layout, self.nodes):
            await netns.apply(batch)
        netns.set_sysctl(self.layout.netns(ROUTER), "net/ipv4/ip_forward", "1")

    async def make_certificate(self) -> None:
        """A certificate for the shop as a Secret in the manifests; its key never leaves the run folder."""
        key = self.layout.folder / "tls.key"
        await netns.must(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "30", "-subj", f"/CN={SHOP_HOST}", "-addext", f"subjectAltName=DNS:{SHOP_HOST}",
             "-keyout", str(key), "-out", str(self.layout.ca)]
        )  # fmt: skip
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "shop-tls", "namespace": "shop"},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": self.layout.ca.read_text(), "tls.key": key.read_text()},
        }
        path = self.layout.manifests / "shop-tls.yaml"
        replace_file(path, yaml.safe_dump(secret, sort_keys=False).encode(), 0o600)
        key.unlink()

    def program(self, name: str) -> tuple[str, list[str]]:
        """Where a program of the cluster runs, and how it is started."""
        causeway = [sys.executable, "-m", "causeway"]
        folder = ["-f", str(self.layout.manifests)]
        if name == "balancer":
            return ROUTER, [*causeway, "balancer", *folder, "--pool", f"{POOL_NAME}={POOL}"]
        if name == "server":
            return INTERNET, [sys.executable, "-S", "-E", echo.__file__, "--http", f"{SERVER_IP}:{SERVER_PORT}"]
        return name, [
            *causeway, "node", "--node", name, *folder,
            "--run-dir", str(self.layout.node_run(name)),
            "--cni-bin-dir", str(self.layout.cni_bin(name)),
            "--cni-conf-dir", str(self.layout.cni_conf(name)),
            "--pod-network", self.wish.pod_network,
        ]  # fmt: skip

    async def start_program(self, name: str) -> None:
        place, argv = self.program(name)
        environment = {"POD_NAME": "server"} if name == "server" else {}
        self.programs[name] = await processes.start(self.layout, name, self.layout.netns(place), argv, env=environment)
        self.stopped.discard(name)

    async def start_programs(self) -> None:
        for node in self.nodes:
            for folder in (self.layout.node_run(node.name), self.layout.cni_bin(node.name)):
                folder.mkdir(parents=True)
            self.layout.cni_conf(node.name).mkdir(parents=True)
        for name in (*(node.name for node in self.nodes), "balancer", "server"):
            await self.start_program(name)
        for node in self.nodes:
            # The configuration is the agent's word that it can answer; container runtimes wait for it, too.
            await self.until(
                lambda node=node: cni.read_conflist(self.layout.cni_conf(node.name)) is not None,  # type: ignore[misc]
                AGENT_LIMIT_S,
                f"the agent of {node.name} wrote no CNI configuration; see {self.layout.logs}/{node.name}.log",
            )

    async def until(self, condition: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        """Raises NotThere with the text `otherwise` when time is up, Died when a program has ended meanwhile."""
        try:
            async with asyncio.timeout(limit_s):
                while not condition():
                    for name, program in self.programs.items():
                        if name not in self.stopped:
                            program.check()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotThere(otherwise) from None

    def spawn(self, what: Awaitable[None]) -> None:
        async def run() -> None:
            await what

        self.background.append(asyncio.create_task(run()))

    async def keep(self, name: str) -> None:
        """Start a program again that has ended, as systemd or a DaemonSet would."""
        while True:
            program = self.programs[name]
            status = await program.process.wait()
            if name not in self.stopped and self.programs[name] is program:
                self.show.note(f"{name} ended with status {status}; starting it again ({program.log})")
                await asyncio.sleep(RESTART_PAUSE_S)
                await self.start_program(name)
            else:
                await asyncio.sleep(POLL_S)

    # -- the load-balancer address

    def read(self) -> ObjectStore:
        """The cluster's objects as everybody reads them, now."""
        store = ObjectStore()
        ManifestFolder(self.layout.manifests, store).load()
        return store

    def balancer_ip(self) -> str:
        """The address the balancer has written to the proxy Service's status, "" as long as there is none."""
        service = self.read().get(Service, *PROXY_SERVICE)
        if service is None:
            return ""
        return next((each.ip for each in service.status.load_balancer.ingress if each.ip), "")

    async def until_address(self) -> None:
        await self.until(
            lambda: bool(self.balancer_ip()),
            ADDRESS_LIMIT_S,
            f"the balancer has given Service ingress/proxy no address; see {self.layout.logs}/balancer.log",
        )
        await self.until_answered(ADDRESS_LIMIT_S)

    async def until_answered(self, limit_s: float) -> None:
        """Until somebody accepts connections at the address. Raises NotThere."""
        address = self.balancer_ip()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    connection = netns.open_socket(self.layout.netns(INTERNET), netns.STREAM)
                    with contextlib.closing(connection), contextlib.suppress(OSError, TimeoutError):
                        async with asyncio.timeout(0.5):
                            await loop.sock_connect(connection, (address, 80))
                            return
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            logs = " ".join(f"{self.layout.logs}/{node.name}.log" for node in self.nodes)
            raise NotThere(f"nobody answers at {address}:80; see {logs}") from None

    async def publish_address(self) -> None:
        """Into the Ingresses' status, as `causeway ingress` does in a cluster, and into the internet's hosts file."""
        address = self.balancer_ip()
        writer = FolderStatus(self.layout.manifests)
        status = IngressStatus(load_balancer=LoadBalancerStatus(ingress=(LoadBalancerIngress(ip=address),)))
        hosts = []
        for ingress in self.read().all(Ingress):
            await writer.write_ingress(ingress.key, status)
            hosts += [rule.host for rule in ingress.spec.rules]
        self.layout.hosts_folder.mkdir(parents=True, exist_ok=True)
        (self.layout.hosts_folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {' '.join(hosts)}\n")

    async def holder(self) -> str:
        """The node whose MAC address the router has for the load-balancer address; "" if it has none."""
        router = self.layout.netns(ROUTER)
        found = json.loads(await netns.must(["ip", "-n", router, "-json", "neighbour"]) or "[]")
        neighbours = [(each["dst"], each["lladdr"]) for each in found if "lladdr" in each]
        macs = {}
        for node in self.nodes:
            link = json.loads(
                await netns.must(["ip", "-n", self.layout.netns(node.name), "-json", "link", "show", "eth0"])
            )
            macs[link[0]["address"]] = node.name
        return topology.holder(neighbours, macs, self.balancer_ip())

    # -- what is there

    def pods(self) -> list[PodFact]:
        """The ready pods on nodes that answer."""
        found = [
            PodFact(*each.placement.pod, each.placement.deployment, each.placement.node, each.ip)
            for each in self.control.pods.values()
            if each.running(self.control.node_ready[each.placement.node]).ready and not each.terminating
        ]
        return sorted(found, key=lambda pod: (pod.namespace, pod.name))

    async def facts(self) -> Facts:
        return Facts(
            tuple(self.pods()), tuple(self.nodes), self.balancer_ip(), await self.holder(), str(self.layout.ca)
        )

    async def reap(self) -> None:
        """Once everything has been ended: let the event loop see it."""
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        for program in (*self.programs.values(), *self.control.programs()):
            await program.kill()

    # -- a node that stops

    async def stop_node(self, name: str) -> None:
        """The node is gone from one moment to the next: its agent killed, its cable pulled out."""
        self.stopped.add(name)
        await netns.apply(topology.Batch(self.layout.netns(ROUTER), (f"link set {name} down",)))
        await self.programs[name].kill()

    async def start_node(self, name: str) -> None:
        """Plug it in and start its agent; until its pods count as ready again."""
        await netns.apply(topology.Batch(self.layout.netns(ROUTER), (f"link set {name} up",)))
        await self.start_program(name)
        await self.until(
            lambda: self.control.node_ready[name], AGENT_LIMIT_S, f"{name} does not answer after it was started again"
        )
