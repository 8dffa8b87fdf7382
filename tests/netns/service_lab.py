"""One node with a pod, another node's pod and a client outside, joined by hand; the Service dataplane in the node.

Sockets are made inside a namespace by a thread that has moved there and ends afterwards; the socket stays where it was
made. So clients and servers are plain sockets of the test's own process.

        client 203.0.113.9 ---- eth0 of router ---- LAN 192.168.50.0/24 ---- node 192.168.50.11
                                                        |                       |
                                                  other 192.168.50.12        pod 10.244.1.11, 13, 14
                                                  (pods 10.244.2.21, 22)     caller 10.244.1.12
"""

import contextlib
import ctypes
import ipaddress
import select
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lb.cluster.objects import decode
from lb.cluster.store import ObjectStore
from lb.service.dataplane import ServiceDataplane
from tests.conftest import NetNs
from tests.lb.service.expectations import (
    ENDPOINTS,
    NODE,
    NODE6,
    SECOND_NODE_IP,
    SECOND_NODE_IP6,
    SOURCES,
    SOURCES6,
    node_document,
)

T = TypeVar("T")

CONNECT_SECONDS_MAX = 5.0
SILENCE_SECONDS = 0.25
"""A refusal takes microseconds here, so where silence is expected this much is enough of it."""

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
    caller: NetNs
    other: NetNs
    client: NetNs
    store: ObjectStore
    dataplane: ServiceDataplane
    servers: dict[str, socket.socket] = field(default_factory=dict)
    udp_servers: dict[str, socket.socket] = field(default_factory=dict)

    def source(self, letter: str) -> NetNs:
        """The namespace of a source in the words of expectations.py."""
        known = {"P": self.caller, "H": self.pod, "N": self.node, "V": self.node, "Q": self.other}
        return known.get(letter, self.client)

    async def have(self, *documents: dict[str, Any]) -> None:
        """Make these, besides the Node, all the objects there are; bring the kernel in line with what changed."""
        wanted = {found.key: found for found in map(decode, documents)}
        dirty = self.store.subscribe(ServiceDataplane.KINDS)
        dirty.take()
        for kind in ("Service", "EndpointSlice"):
            for key in self.store.keys(kind):
                if key not in wanted:
                    self.store.remove(key)
        for found in wanted.values():
            self.store.put(found)
        self.store.unsubscribe(dirty)
        await self.dataplane.apply(dirty.take())

    def with_options(self, *, pods_known: bool = True, **options: Any) -> None:
        """A dataplane with other options, in place of the one there is: as after a restart of the agent."""
        self.dataplane._socket.close()
        node = decode(node_document(pods_known=pods_known))
        self.store.put(node)
        for name in ("service_cidrs", "node_port_addresses"):
            options[name] = [ipaddress.ip_network(each) for each in options.get(name, ())]
        self.dataplane = inside(self.node, lambda: ServiceDataplane(self.store, "one", **options))

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
        self.servers[address], self.udp_servers[address] = tcp, udp

    def ask(self, letter: str, address: str, port: int, *, silence: bool = False) -> tuple[str, str]:
        """Connect from a source: (endpoint's address, peer address it saw), or ("REJECT", "") or ("DROP", "")."""
        with self._client(letter, address, socket.SOCK_STREAM) as client:
            client.settimeout(SILENCE_SECONDS if silence else CONNECT_SECONDS_MAX)
            try:
                client.connect((address, port))
            except ConnectionRefusedError:
                return "REJECT", ""
            except TimeoutError:
                return "DROP", ""
            ready, _, _ = select.select(list(self.servers.values()), [], [], CONNECT_SECONDS_MAX)
            assert len(ready) == 1, f"{address}:{port} answered, but not one of our servers: {ready}"
            connection, peer = ready[0].accept()
            connection.close()
            return ready[0].getsockname()[0], peer[0]

    def ask_udp(self, letter: str, address: str, port: int, *, silence: bool = False) -> tuple[str, str]:
        """The same with one datagram from a port of its own."""
        with self._client(letter, address, socket.SOCK_DGRAM) as client:
            return self.send(client, address, port, silence=silence)

    def send(self, client: socket.socket, address: str, port: int, *, silence: bool = False) -> tuple[str, str]:
        """Send one datagram and see that its answer comes back; the same result as `ask`."""
        client.settimeout(SILENCE_SECONDS if silence else CONNECT_SECONDS_MAX)
        try:
            client.connect((address, port))
            client.send(b"?")
            watched: list[socket.socket] = [client, *self.udp_servers.values()]
            ready, _, _ = select.select(watched, [], [], client.gettimeout())
            if not ready:
                return "DROP", ""
            if ready[0] is client:
                client.recv(1)  # raises: nothing has answered yet
            _, peer = ready[0].recvfrom(1)
            ready[0].sendto(b"!", peer)
            assert client.recv(1) == b"!"
        except ConnectionRefusedError:
            return "REJECT", ""
        return ready[0].getsockname()[0], peer[0]

    def udp_client(self, letter: str, address: str) -> socket.socket:
        return self._client(letter, address, socket.SOCK_DGRAM)

    def _client(self, letter: str, address: str, kind: int) -> socket.socket:
        """A socket in the source's namespace, bound to the source's address."""
        family, sources = (socket.AF_INET6, SOURCES6) if ":" in address else (socket.AF_INET, SOURCES)

        def make() -> socket.socket:
            client = socket.socket(family, kind)
            if letter != "N":
                client.bind((sources[letter], 0))
            return client

        return inside(self.source(letter), make)

    @contextlib.contextmanager
    def owning(self, address: str) -> Iterator[None]:
        """The node has this address itself for a while."""
        self.node.run("ip", "addr", "add", address, "dev", "lo")
        try:
            yield
        finally:
            self.node.run("ip", "addr", "del", address, "dev", "lo")

    def close(self) -> None:
        for each in (*self.servers.values(), *self.udp_servers.values()):
            each.close()
        self.dataplane._socket.close()


def _address(ns: NetNs, interface: str, *addresses: str) -> None:
    for each in addresses:
        ns.run("ip", "addr", "add", each, "dev", interface, *(("nodad",) if ":" in each else ()))


def _topology(netns: Callable[..., NetNs]) -> tuple[NetNs, NetNs, NetNs, NetNs, NetNs]:
    names = ("node", "pod", "caller", "other", "client", "router")
    node, pod, caller, other, client, router = (netns(name) for name in names)
    for each in (node, other, router):
        each.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    router.run("ip", "link", "add", "lan", "type", "bridge")
    router.run("ip", "link", "set", "lan", "up")
    for each, port in ((node, "one"), (other, "two")):
        each.connect("eth0", router, port)
        router.run("ip", "link", "set", port, "master", "lan")
    client.connect("eth0", router, "outside")
    pod.connect("eth0", node, "pod0")
    caller.connect("eth0", node, "pod1")
    _address(router, "lan", "192.168.50.1/24", "fd50::1/64")
    _address(router, "outside", "203.0.113.1/24", "fd99::1/64")
    _address(client, "eth0", "203.0.113.9/24", "203.0.113.200/24", "fd99::9/64")
    _address(node, "eth0", f"{NODE}/24", f"{SECOND_NODE_IP}/24", f"{NODE6}/64", f"{SECOND_NODE_IP6}/64")
    _address(other, "eth0", "192.168.50.12/24", "fd50::12/64")
    _address(node, "pod0", "10.244.1.1/24", "fd44:0:0:1::1/64")
    _address(node, "pod1", "fd44:0:0:1::2/128")
    _address(caller, "eth0", "10.244.1.12/32", "fd44:0:0:1::12/128")
    node.run("ip", "route", "add", "10.244.1.12", "dev", "pod1")
    node.run("ip", "route", "add", "fd44:0:0:1::12", "dev", "pod1")
    for each, gateway6 in ((caller, "fd44:0:0:1::2"), (pod, "fd44:0:0:1::1")):
        each.run("ip", "route", "add", "10.244.1.1", "dev", "eth0")
        each.run("ip", "route", "add", gateway6, "dev", "eth0")
    for letter, address in ENDPOINTS.items():
        if letter == "I":
            continue
        ns, interface = (pod, "eth0") if letter in "LMKl" else (other, "lo")
        _address(ns, interface, f"{address}/{128 if ':' in address else 32}")
    _routes(node, pod, caller, other, client, router)
    return node, pod, caller, other, client


def _routes(node: NetNs, pod: NetNs, caller: NetNs, other: NetNs, client: NetNs, router: NetNs) -> None:
    for each, gateway, gateway6 in (
        (node, "192.168.50.1", "fd50::1"),
        (other, "192.168.50.1", "fd50::1"),
        (client, "203.0.113.1", "fd99::1"),
        (pod, "10.244.1.1", "fd44:0:0:1::1"),
        (caller, "10.244.1.1", "fd44:0:0:1::2"),
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
        (router, "fd98::/112", NODE6),
    ):
        each.run("ip", "route", "add", net, "via", via)


@contextlib.contextmanager
def lab_of(netns: Callable[..., NetNs]) -> Iterator[Lab]:
    node, pod, caller, other, client = _topology(netns)
    store = ObjectStore()
    store.put(decode(node_document()))
    dataplane = inside(node, lambda: ServiceDataplane(store, "one"))
    made = Lab(node, pod, caller, other, client, store, dataplane)
    try:
        for letter, address in ENDPOINTS.items():
            made.listen(node if letter == "I" else pod if letter in "LMKl" else other, address, 8080)
        yield made
    finally:
        made.close()
