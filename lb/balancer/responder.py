"""Answers ARP and NDP for the addresses this node announces, on its uplinks, and tells the network at a take-over.

Packet sockets, one per uplink and protocol: the addresses are not the kernel's, so the kernel would not answer. Frames
are made and read by arp.py and ndp.py.
"""

import asyncio
import ctypes
import logging
import socket
import struct
from collections.abc import Callable, Collection, Set
from ipaddress import IPv4Address, IPv6Address

from lb.balancer import arp, ndp
from lb.balancer.pools import Address
from lb.balancer.uplinks import Uplink, find_uplinks

log = logging.getLogger(__name__)

BURST_SECONDS = (0.0, 0.1, 0.3, 0.6, 1.0, 2.0, 3.0, 5.0)
"""When after a take-over the network is told again: a frame may be lost, the former holder may still have answered."""
RESCAN_SECONDS = 10.0
MISSING_RESCAN_SECONDS = 1.0
"""The same while an uplink is down or gone: it may be back any moment."""
_FRAMES_PER_WAKE = 64
_CONFLICT_QUIET_SECONDS = 6.0
_HAND_OVER_SECONDS = 0.5
"""So much earlier than us the next holder may have heard that it is the holder now."""

_SO_ATTACH_FILTER = 26
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_ALLMULTI = 263, 1, 2
# Classic BPF over an Ethernet frame: ICMPv6 of type 135 (solicitation) or 136 (advertisement), nothing else. Without
# it every IPv6 packet of the uplink would wake this process.
_NDP_FILTER = (
    (0x30, 0, 0, 20),  # ldb [20]: next header
    (0x15, 0, 4, ndp.ICMPV6),
    (0x30, 0, 0, 54),  # ldb [54]: type
    (0x15, 1, 0, ndp.SOLICITATION),
    (0x15, 0, 1, ndp.ADVERTISEMENT),
    (0x06, 0, 0, 0x40000),  # accept
    (0x06, 0, 0, 0),
)


class Responder:
    """Answers for `addresses` until it is told others."""

    def __init__(
        self,
        node_ips: Callable[[], Collection[str]],
        interfaces: Collection[str] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """on_change: called when `uplinks` or `conflicts` are others."""
        self.addresses: frozenset[Address] = frozenset()
        self.uplinks: tuple[Uplink, ...] = ()
        self.conflicts = 0
        """How often another machine said it has one of our addresses, outside of a hand-over."""
        self._node_ips = node_ips
        self._interfaces = tuple(interfaces)
        self._on_change = on_change
        self._links: dict[Uplink, _Link] = {}
        self._bursts: dict[Address, float] = {}
        self._quiet_until: dict[Address, float] = {}
        self._wake = asyncio.Event()
        self._rescan_at = 0.0

    def set_addresses(self, addresses: Set[Address]) -> None:
        """Answer for exactly these; the network is told of new ones at once."""
        gained = addresses - self.addresses
        self.addresses = frozenset(addresses)
        for address in list(self._bursts):
            if address not in self.addresses:
                del self._bursts[address]
        for link in self._links.values():
            link.join(self.addresses)
        self.reannounce(gained)

    def reannounce(self, addresses: Collection[Address] | None = None) -> None:
        """Tell the network again who has these addresses (None: all of ours), now and for some seconds."""
        now = asyncio.get_running_loop().time()
        for address in self.addresses if addresses is None else addresses:
            self._bursts[address] = now
            self._tell(address)
        self._wake.set()

    def rescan(self) -> None:
        """Look at the interfaces again: the node's addresses are others now."""
        self._rescan_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; from then on nothing is answered."""
        loop = asyncio.get_running_loop()
        done = loop.time()
        try:
            while True:
                self._wake.clear()
                now = loop.time()
                if now >= self._rescan_at:
                    await self._scan()
                    missing = len(self._links) < max(1, len(self._interfaces))
                    self._rescan_at = now + (MISSING_RESCAN_SECONDS if missing else RESCAN_SECONDS)
                self._continue_bursts(done, now)
                done = now
                try:
                    async with asyncio.timeout_at(self._next(now)):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self.addresses = frozenset()
            for link in self._links.values():
                link.close()
            self._links.clear()

    # -- bursts

    def _continue_bursts(self, after: float, now: float) -> None:
        for address, start in list(self._bursts.items()):
            if any(after < start + each <= now for each in BURST_SECONDS[1:]):
                self._tell(address)
            if now >= start + BURST_SECONDS[-1]:
                del self._bursts[address]

    def _next(self, now: float) -> float:
        steps = (start + each for start in self._bursts.values() for each in BURST_SECONDS)
        return min((each for each in steps if each > now), default=self._rescan_at) if self._bursts else self._rescan_at

    def _tell(self, address: Address) -> None:
        for link in self._links.values():
            link.tell(address)

    # -- interfaces

    async def _scan(self) -> None:
        try:
            now = await find_uplinks(self._node_ips(), self._interfaces)
        except OSError as error:
            log.warning("cannot list the interfaces: %s", error)
            return
        for gone in self._links.keys() - set(now):
            self._links.pop(gone).close()
        for uplink in now:
            if uplink not in self._links:
                try:
                    self._links[uplink] = link = _Link(uplink, self)
                except OSError as error:
                    log.warning("cannot answer on %s: %s", uplink.name, error)
                    continue
                log.info("answering ARP and NDP on %s", uplink.name)
                link.join(self.addresses)
                for address in self.addresses:
                    link.tell(address)
        self._set_uplinks()

    def _set_uplinks(self) -> None:
        now = tuple(self._links)
        if now != self.uplinks:
            self.uplinks = now
            self._on_change()

    def lost(self, uplink: Uplink) -> None:
        """The interface went away or down; look again soon."""
        link = self._links.pop(uplink, None)
        if link is not None:
            link.close()
        self._set_uplinks()
        self._rescan_at = asyncio.get_running_loop().time() + MISSING_RESCAN_SECONDS
        self._wake.set()

    def claimed_elsewhere(self, address: Address, mac: bytes) -> None:
        """Another machine says it has an address of ours: tell the network again, seldom enough not to quarrel."""
        now = asyncio.get_running_loop().time()
        if address in self._bursts or self._quiet_until.get(address, 0.0) > now:
            return
        self._quiet_until[address] = now + _CONFLICT_QUIET_SECONDS
        asyncio.get_running_loop().call_later(_HAND_OVER_SECONDS, self._contest, address, mac)

    def _contest(self, address: Address, mac: bytes) -> None:
        if address not in self.addresses:
            return  # it was a hand-over
        self.conflicts += 1
        self._on_change()
        log.warning(
            "%s is also claimed by %s: another machine has this address, or the node agents do not hear each other "
            "(is their UDP port open between the nodes?)",
            address,
            mac.hex(":"),
        )
        self.reannounce([address])


class _Link:
    """The packet sockets of one uplink."""

    def __init__(self, uplink: Uplink, responder: Responder) -> None:
        self._uplink = uplink
        self._responder = responder
        self._groups: socket.socket | None = None
        self._joined: set[IPv6Address] = set()
        self._arp = self._open(arp.ETHERTYPE, self._read_arp)
        self._ndp: socket.socket | None = None
        try:
            if uplink.link_local is not None:
                self._ndp = self._open(ndp.ETHERTYPE, self._read_ndp)
                # The group of a load-balancer address is not one of the interface's own: hear all multicast.
                membership = struct.pack("iHH8s", uplink.index, _PACKET_MR_ALLMULTI, 0, b"")
                self._ndp.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
                self._groups = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        except OSError:
            self.close()
            raise

    def _open(self, ethertype: int, read: Callable[[bytes], None]) -> socket.socket:
        # Protocol 0 until it is bound: otherwise frames of other interfaces are queued in between.
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            if ethertype == ndp.ETHERTYPE:
                _attach_filter(opened, _NDP_FILTER)
            opened.bind((self._uplink.name, ethertype))
        except OSError:
            opened.close()
            raise
        asyncio.get_running_loop().add_reader(opened, self._drain, opened, read)
        return opened

    def close(self) -> None:
        for each in (self._arp, self._ndp):
            if each is not None:
                asyncio.get_running_loop().remove_reader(each)
                each.close()
        if self._groups is not None:
            self._groups.close()

    def join(self, addresses: Collection[Address]) -> None:
        """Be in the multicast groups in which our addresses are asked for; switches that snoop MLD want to be told."""
        if self._groups is None:
            return
        wanted = {ndp.solicited_node(each) for each in addresses if isinstance(each, IPv6Address)}
        for group, option in [
            *((each, socket.IPV6_LEAVE_GROUP) for each in self._joined - wanted),
            *((each, socket.IPV6_JOIN_GROUP) for each in wanted - self._joined),
        ]:
            try:
                self._groups.setsockopt(
                    socket.IPPROTO_IPV6, option, group.packed + struct.pack("I", self._uplink.index)
                )
            except OSError as error:
                log.warning("%s: multicast group %s: %s", self._uplink.name, group, error)
        self._joined = wanted

    def tell(self, address: Address) -> None:
        if isinstance(address, IPv4Address):
            for frame in arp.gratuitous(address, self._uplink.mac):
                self._send(self._arp, frame)
        elif self._ndp is not None:
            self._send(self._ndp, ndp.unsolicited(address, self._uplink.mac, self._uplink.link_local))

    # -- frames

    def _drain(self, opened: socket.socket, read: Callable[[bytes], None]) -> None:
        for _ in range(_FRAMES_PER_WAKE):
            try:
                frame, (_, _, kind, *_) = opened.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("%s: %s", self._uplink.name, error)
                self._responder.lost(self._uplink)
                return
            if kind != socket.PACKET_OUTGOING:
                read(frame)

    def _read_arp(self, frame: bytes) -> None:
        found = arp.parse(frame)
        if found is None:
            return
        destination, packet = found
        ours = self._responder.addresses
        if packet.sender_ip in ours and packet.sender_mac != self._uplink.mac:
            self._responder.claimed_elsewhere(packet.sender_ip, packet.sender_mac)
        elif packet.operation != arp.REQUEST or packet.target_ip not in ours:
            return
        elif destination in (arp.BROADCAST, self._uplink.mac):
            self._send(self._arp, arp.answer(packet, self._uplink.mac))

    def _read_ndp(self, frame: bytes) -> None:
        found = ndp.parse(frame)
        if found is None or found.target not in self._responder.addresses or self._ndp is None:
            return
        if isinstance(found, ndp.Solicitation):
            self._send(self._ndp, ndp.answer(found, self._uplink.mac, self._uplink.link_local))
        elif found.mac != self._uplink.mac:
            self._responder.claimed_elsewhere(found.target, found.mac)

    def _send(self, through: socket.socket, frame: bytes) -> None:
        try:
            through.send(frame)
        except OSError as error:  # down, or its queue is full: the burst and the asker's retry come again
            log.debug("%s: %s", self._uplink.name, error)


def _attach_filter(opened: socket.socket, program: Collection[tuple[int, int, int, int]]) -> None:
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    memory = ctypes.create_string_buffer(code)
    head = struct.pack("HL", len(program), ctypes.addressof(memory))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
