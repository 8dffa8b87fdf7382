"""One node with a pod, another node's pod and a client outside, joined by hand; the Service dataplane in the node.

Sockets are made inside a namespace by a thread that has moved there and ends afterwards; the socket stays where it was
made. So clients and servers are plain sockets of the test's own process.

        client 203.0.113.9 ---- eth0 of router ---- LAN 192.168.50.0/24 ---- node 192.168.50.11
                                                        |                       |
                                                  other 192.168.50.12        pod 10.244.1.11 (and 10.244.1.12)
                                                  (pod 10.244.2.21)
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lb.cluster.objects import Object, decode
from lb.cluster.store import ObjectStore
from lb.service.dataplane import ServiceDataplane
from tests.conftest import NetNs

T = TypeVar("T")

NODE, POD, SECOND_POD, CLIENT = "192.168.50.11", "10.244.1.11", "10.244.1.12", "203.0.113.9"
REMOTE = "10.244.2.21"
NODE6, POD6, REMOTE6, CLIENT6 = "fd50::11", "fd44:0:0:1::11", "fd44:0:0:2::21", "fd99::9"
CONNECT_SECONDS = 0.4
"""A refusal takes microseconds here, so silence for this long is a drop."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def inside(ns: NetNs, do: Callable[[], T]) -> T:
    """Run `do` in a thread that has entered the namespace; its result, or its exception."""
    result: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with open(ns.path) as place:
                if _libc.setns(place.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(do())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


@dataclass
class Lab:
    """The namespaces, the store, the dataplane, and the servers in the pods."""

    node: NetNs
    pod: NetNs
    other: NetNs
    client: NetNs
    store: ObjectStore
    dataplane: ServiceDataplane
    servers: dict[str, socket.socket] = field(default_factory=dict)
    udp_servers: dict[str, socket.socket] = field(default_factory=dict)

    def sources(self) -> dict[str, tuple[NetNs, str]]:
        return {"P": (self.pod, POD), "N": (self.node, NODE), "X": (self.client, CLIENT)}

    async def have(self, *documents: dict[str, Any]) -> None:
        """Put objects into the store and bring the kernel in line, as changes of these keys."""
        found = [decode(each) for each in documents]
        for each in found:
            self.store.put(each)
        await self.apply(*found)

    async def apply(self, *changed: Object) -> None:
        keys = [each.key for each in changed]
        keys += [k for k in self.store.keys("Service") if k not in keys]
        await self.dataplane.apply(keys)

    def listen(self, ns: NetNs, address: str, port: int) -> None:
        """Serve TCP and UDP there; `ask` and `ask_udp` answer from these sockets."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET

        def make() -> tuple[socket.socket, socket.socket]:
            tcp = socket.create_server((address, port), family=family, backlog=64)
            udp = socket.socket(family, socket.SOCK_DGRAM)
            udp.bind((address, port))
            return tcp, udp

        tcp, udp = inside(ns, make)
        tcp.setblocking(False)
        udp.setblocking(False)
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self.servers[where], self.udp_servers[where] = tcp, udp

    def ask(self, ns: NetNs, address: str, port: int, *, source: str = "") -> tuple[str, str]:
        """Connect: (endpoint, peer address it saw), or ("REJECT", "") or ("DROP", "")."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(ns, lambda: socket.socket(family, socket.SOCK_STREAM)) as client:
            client.settimeout(CONNECT_SECONDS)
            if source:
                client.setsockopt(socket.SOL_IP, 15, 1)  # IP_FREEBIND
                client.bind((source, 0))
            try:
                client.connect((address, port))
            except ConnectionRefusedError:
                return "REJECT", ""
            except TimeoutError:
                return "DROP", ""
            for where, server in self.servers.items():
                with contextlib.suppress(BlockingIOError):
                    connection, peer = server.accept()
                    connection.close()
                    return where, peer[0]
        raise AssertionError(f"{address}:{port} answered, but none of our servers did")

    def ask_many(self, ns: NetNs, address: str, port: int, times: int = 12) -> tuple[set[str], set[str]]:
        """The endpoints met and the peer addresses seen in several connections."""
        answers = [self.ask(ns, address, port) for _ in range(times)]
        return {answer[0] for answer in answers}, {answer[1] for answer in answers}

    def close(self) -> None:
        for each in (*self.servers.values(), *self.udp_servers.values()):
            each.close()


def service(name: str = "web", *, ports: list[dict[str, Any]] | None = None, status: Any = None, **spec: Any) -> Any:
    """A Service's document. clusterIP is 10.96.0.10 unless said otherwise."""
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.10", "ports": ports or [{"port": 80, "targetPort": 8080}], **spec},
    }
    if status:
        document["status"] = {"loadBalancer": {"ingress": status}}
    return document


def endpoint(
    address: str, node: str = "", *, ready: bool = True, serving: bool | None = None, terminating: bool = False
) -> Any:
    conditions: dict[str, Any] = {"ready": ready, "terminating": terminating}
    if serving is not None:
        conditions["serving"] = serving
    node = node or ("one" if address.startswith("10.244.1.") or address.startswith("fd44:0:0:1") else "two")
    return {"addresses": [address], "conditions": conditions, "nodeName": node}


def slices(name: str = "web", *endpoints: Any, ports: list[dict[str, Any]] | None = None, family: str = "IPv4") -> Any:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{family.lower()}",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": ports or [{"port": 8080}],
    }


def node_object() -> Any:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "one"},
        "spec": {"podCIDRs": ["10.244.1.0/24", "fd44:0:0:1::/64"]},
        "status": {"addresses": [{"type": "InternalIP", "address": NODE}, {"type": "InternalIP", "address": NODE6}]},
    }


def _address(ns: NetNs, interface: str, *addresses: str) -> None:
    for each in addresses:
        ns.run("ip", "addr", "add", each, "dev", interface, *(("nodad",) if ":" in each else ()))


def _topology(netns: Callable[..., NetNs]) -> tuple[NetNs, NetNs, NetNs, NetNs]:
    node, pod, other, client, router = (netns(name) for name in ("node", "pod", "other", "client", "router"))
    for each in (node, other, router):
        each.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    router.run("ip", "link", "add", "lan", "type", "bridge")
    router.run("ip", "link", "set", "lan", "up")
    for each, port in ((node, "one"), (other, "two")):
        each.connect("eth0", router, port)
        router.run("ip", "link", "set", port, "master", "lan")
    client.connect("eth0", router, "outside")
    pod.connect("eth0", node, "pod0")
    _address(router, "lan", "192.168.50.1/24", "fd50::1/64")
    _address(router, "outside", "203.0.113.1/24", "fd99::1/64")
    _address(client, "eth0", f"{CLIENT}/24", f"{CLIENT6}/64")
    _address(node, "eth0", f"{NODE}/24", f"{NODE6}/64")
    _address(other, "eth0", "192.168.50.12/24", "fd50::12/64")
    _address(other, "lo", f"{REMOTE}/32", f"{REMOTE6}/128")
    _address(node, "pod0", "10.244.1.1/24", "fd44:0:0:1::1/64")
    _address(pod, "eth0", f"{POD}/24", f"{SECOND_POD}/24", f"{POD6}/64")
    for each, gateway, gateway6 in (
        (node, "192.168.50.1", "fd50::1"),
        (other, "192.168.50.1", "fd50::1"),
        (client, "203.0.113.1", "fd99::1"),
        (pod, "10.244.1.1", "fd44:0:0:1::1"),
    ):
        each.run("ip", "route", "add", "default", "via", gateway)
        each.run("ip", "route", "add", "default", "via", gateway6)
    for each, net, via in (
        (node, "10.244.2.0/24", "192.168.50.12"),
        (other, "10.244.1.0/24", NODE),
        (node, "fd44:0:0:2::/64", "fd50::12"),
        (other, "fd44:0:0:1::/64", NODE6),
        # The LAN's router knows the way to Service and load-balancer addresses: this node.
        (router, "10.96.0.0/16", NODE),
        (router, "198.51.100.0/24", NODE),
        (router, "fd96::/112", NODE6),
    ):
        each.run("ip", "route", "add", net, "via", via)
    return node, pod, other, client


@contextlib.contextmanager
def lab_of(netns: Callable[..., NetNs], **options: Any) -> Iterator[Lab]:
    """options: of ServiceDataplane."""
    node, pod, other, client = _topology(netns)
    store = ObjectStore()
    store.put(decode(node_object()))
    dataplane = inside(node, lambda: ServiceDataplane(store, "one", **options))
    made = Lab(node, pod, other, client, store, dataplane)
    try:
        for ns, address in ((pod, POD), (pod, SECOND_POD), (pod, POD6), (other, REMOTE), (other, REMOTE6)):
            made.listen(ns, address, 8080)
        yield made
    finally:
        made.close()
        asyncio.run(dataplane.close())


__all__ = ["Lab", "endpoint", "inside", "lab_of", "node_object", "os", "service", "slices"]
