"""ARP over Ethernet for IPv4: frames as bytes (RFC 826, RFC 5227).

Pure. An announcing node answers requests for addresses that it does not have in the kernel's sense, and tells the
network at a take-over with gratuitous ARP.
"""

import ipaddress
import struct
from dataclasses import dataclass

ETHERTYPE = 0x0806
REQUEST, REPLY = 1, 2
BROADCAST = b"\xff" * 6
_NOBODY = b"\x00" * 6

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_FIXED = (1, 0x0800, 6, 4)  # Ethernet, IPv4, and the lengths of their addresses


@dataclass(frozen=True, slots=True)
class ArpPacket:
    operation: int
    sender_mac: bytes
    sender_ip: ipaddress.IPv4Address
    target_mac: bytes
    target_ip: ipaddress.IPv4Address


def parse(frame: bytes) -> tuple[bytes, ArpPacket] | None:
    """An Ethernet frame -> (its destination MAC, the ARP packet); None if it is anything else or cut short."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    destination, _, ethertype = _ETHERNET.unpack_from(frame)
    *fixed, operation, sender_mac, sender_ip, target_mac, target_ip = _ARP.unpack_from(frame, _ETHERNET.size)
    if ethertype != ETHERTYPE or tuple(fixed) != _FIXED or operation not in (REQUEST, REPLY):
        return None
    packet = ArpPacket(
        operation, sender_mac, ipaddress.IPv4Address(sender_ip), target_mac, ipaddress.IPv4Address(target_ip)
    )
    return destination, packet


def build(destination: bytes, packet: ArpPacket) -> bytes:
    """The Ethernet frame; its source is the packet's sender."""
    head = _ETHERNET.pack(destination, packet.sender_mac, ETHERTYPE)
    body = _ARP.pack(
        *_FIXED,
        packet.operation,
        packet.sender_mac,
        packet.sender_ip.packed,
        packet.target_mac,
        packet.target_ip.packed,
    )
    return head + body


def answer(request: ArpPacket, mac: bytes) -> bytes:
    """The frame that says: the address asked for is at `mac`. Also right for a probe (sender 0.0.0.0)."""
    reply = ArpPacket(REPLY, mac, request.target_ip, request.sender_mac, request.sender_ip)
    return build(request.sender_mac, reply)


def gratuitous(address: ipaddress.IPv4Address, mac: bytes) -> tuple[bytes, bytes]:
    """Two frames to everybody: a request and a reply. Some systems learn only from one kind."""
    return (
        build(BROADCAST, ArpPacket(REQUEST, mac, address, _NOBODY, address)),
        build(BROADCAST, ArpPacket(REPLY, mac, address, BROADCAST, address)),
    )
