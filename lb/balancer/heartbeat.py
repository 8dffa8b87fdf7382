"""Heartbeats on the wire: small UDP datagrams between the InternalIPs of the nodes.

Every node sends to every other. What they mean is in liveness.py; this is the sockets and the clock.
"""

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from lb.balancer.liveness import SETTLE_PERIODS, Beat, Peers, decode, encode, period_for

log = logging.getLogger(__name__)

PORT = 7947
_DATAGRAMS_PER_WAKE = 64
_LEAVE_REPEATS = 2  # the network may lose one; the second costs nothing


class Heartbeats:
    """Tells the other nodes that this one is alive, and keeps `ready_nodes`, those that may announce.

    `on_change(came)` is called whenever the set of ready nodes is another; came: there is a new one, or we were stopped
    ourselves, so that what the network believes may be outdated.
    """

    def __init__(self, node_name: str, on_change: Callable[[bool], None], port: int = PORT) -> None:
        self.node_name = node_name
        self.port = port
        self.ready_nodes: frozenset[str] = frozenset()
        self._on_change = on_change
        self._peers = Peers(node_name)
        self._addresses: dict[str, frozenset[str]] = {}
        self._targets: dict[str, str] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._run = time.time_ns()
        self._sequence = 0
        self._may_be_ready = False
        self._settled = False
        self._was_stopped = False
        self._started: float | None = None
        self._beat_at = 0.0
        self._wake = asyncio.Event()
        self._complaint = ""

    # -- what the announcer says

    def set_nodes(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """The InternalIPs of all Nodes, this one included."""
        self._addresses = {name: frozenset(each) for name, each in addresses.items()}
        self._peers.forget(self._addresses.keys())
        mine = {ip_address(each).version for each in addresses.get(self.node_name, ())}
        self._targets = {
            name: target
            for name, found in addresses.items()
            if name != self.node_name
            and (target := next((each for each in found if ip_address(each).version in mine), None))
        }
        self._wake.set()

    def allow_ready(self) -> None:
        """This node's data plane is in place: it may announce once it has heard who else is there."""
        self._may_be_ready = True
        self._wake.set()

    def describe(self, node: str) -> str:
        if node == self.node_name:
            return self._complaint or ("ready" if self._is_ready else "starting")
        return self._peers.silence(node, time.monotonic())

    def leave(self) -> None:
        """Tell the others, now: they take over without waiting."""
        for _ in range(_LEAVE_REPEATS):
            self._send_all(leaving=True)

    # -- the loop

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self._wake.clear()
                now = self._tick()
                self._open_sockets()
                self._settle(now)
                if now >= self._beat_at and self._sockets:
                    self._beat_at = now + self._period
                    self._send_all()
                self._look()
                await self._pause(now)
        finally:
            self._close_sockets(set())

    @property
    def _period(self) -> float:
        return period_for(len(self._addresses))

    @property
    def _is_ready(self) -> bool:
        return self._settled and self._may_be_ready

    async def _pause(self, now: float) -> None:
        until = max(self._beat_at, now + 0.01)
        deadline = self._peers.next_deadline(now)
        if deadline is not None:
            until = min(until, deadline)
        try:
            async with asyncio.timeout(min(until - now, self._period)):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _settle(self, now: float) -> None:
        """Ready only after the others had time to answer: two nodes must not both think they are alone."""
        if self._settled or not self._sockets:
            return
        if self._started is None:
            self._started = now
            self._beat_at = now
        if self._peers.heard_all(self._targets.keys()) or now - self._started >= SETTLE_PERIODS * self._period:
            self._settled = True

    def _tick(self) -> float:
        """The time. Before anything is judged by it: were we stopped since the last look?"""
        now = time.monotonic()
        self._was_stopped = self._peers.tick(now, self._period) or self._was_stopped
        return now

    def _look(self) -> None:
        stopped, self._was_stopped = self._was_stopped, False
        ready = self._peers.ready(time.monotonic())
        if self._is_ready:
            ready |= {self.node_name}
        if ready == self.ready_nodes and not stopped:
            return
        came = stopped or bool(ready - self.ready_nodes)
        if self.node_name in ready and self.node_name not in self.ready_nodes:
            self._send_all()  # the others let go of our addresses the moment we take them
        self.ready_nodes = ready
        self._on_change(came)

    # -- sockets

    def _open_sockets(self) -> None:
        mine = self._addresses.get(self.node_name, frozenset())
        self._close_sockets(set(mine))
        complaint = "" if mine else f"Node {self.node_name} is not known, or has no InternalIP"
        for address in mine - self._sockets.keys():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                opened.bind((address, self.port))
            except OSError as error:
                opened.close()
                complaint = _cannot_bind(address, self.port, error)
                continue
            asyncio.get_running_loop().add_reader(opened, self._read, opened)
            self._sockets[address] = opened
        if complaint and complaint != self._complaint and self._addresses:
            log.error("%s", complaint)
        self._complaint = complaint

    def _close_sockets(self, keep: set[str]) -> None:
        for address in self._sockets.keys() - keep:
            gone = self._sockets.pop(address)
            asyncio.get_running_loop().remove_reader(gone)
            gone.close()

    def _read(self, opened: socket.socket) -> None:
        now = self._tick()
        for _ in range(_DATAGRAMS_PER_WAKE):
            try:
                datagram, source = opened.recvfrom(2048)
            except OSError:
                break  # nothing more, or an ICMP error of an earlier send
            beat = decode(datagram)
            if beat is not None and self._peers.heard(beat, source[0], self._addresses, now):
                if beat.asks:
                    self._send(beat.node, asks=False)
                if beat.leaving:
                    log.info("node %s leaves", beat.node)
        self._settle(now)
        self._look()

    def _send_all(self, *, leaving: bool = False) -> None:
        for node in self._targets:
            self._send(node, asks=not self._settled, leaving=leaving)

    def _send(self, node: str, *, asks: bool, leaving: bool = False) -> None:
        target = self._targets.get(node)
        if target is None:
            return
        self._sequence += 1
        beat = Beat(self.node_name, self._run, self._sequence, self._period, self._is_ready, leaving, asks)
        family = ip_address(target).version
        for address, opened in self._sockets.items():
            if ip_address(address).version == family:
                try:
                    opened.sendto(encode(beat), (target, self.port))
                except OSError as error:  # no route, a full queue, a refused earlier one: the next beat is the retry
                    log.debug("heartbeat to %s: %s", node, error)
                return


def _cannot_bind(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        what = "is in use: another node agent here? choose another port, the same on all nodes: --heartbeat-port"
    elif error.errno == errno.EADDRNOTAVAIL:
        what = "cannot be bound: the Node's InternalIP is not an address of this machine"
    else:
        what = f"cannot be bound: {error.strerror}"
    return f"UDP {address}:{port} {what}; this node announces no address until it can be"
