"""Neighbour discovery for IPv6: solicitations and advertisements as Ethernet frames (RFC 4861, RFC 4291).

Pure. The IPv6 counterpart of arp.py.
"""

import ipaddress
import struct
from dataclasses import dataclass

ETHERTYPE = 0x86DD
ICMPV6 = 58
SOLICITATION, ADVERTISEMENT = 135, 136
_HOP_LIMIT = 255  # anything less has crossed a router and must be ignored
_SOLICITED, _OVERRIDE = 0x40000000, 0x20000000
_ALL_NODES = ipaddress.IPv6Address("ff02::1")
_UNSPECIFIED = ipaddress.IPv6Address("::")
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2

_ETHERNET = struct.Struct("!6s6sH")
_IPV6 = struct.Struct("!IHBB16s16s")
_NEIGHBOUR = struct.Struct("!BBHI16s")


@dataclass(frozen=True, slots=True)
class Solicitation:
    """Who asks for whom."""

    mac: bytes
    source: ipaddress.IPv6Address
    """:: while the asker checks that its own new address is unused."""
    target: ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Advertisement:
    mac: bytes
    target: ipaddress.IPv6Address


def parse(frame: bytes) -> Solicitation | Advertisement | None:
    """An Ethernet frame -> the neighbour message in it; None if it is anything else, cut short or forged."""
    body_start = _ETHERNET.size + _IPV6.size
    if len(frame) < body_start + _NEIGHBOUR.size:
        return None
    _, source_mac, ethertype = _ETHERNET.unpack_from(frame)
    _, length, following, hop_limit, source, destination = _IPV6.unpack_from(frame, _ETHERNET.size)
    body = frame[body_start : body_start + length]
    if ethertype != ETHERTYPE or following != ICMPV6 or hop_limit != _HOP_LIMIT or len(body) < _NEIGHBOUR.size:
        return None
    if len(body) != length or _checksum(source, destination, body):
        return None
    kind, code, _, _, target = _NEIGHBOUR.unpack_from(body)
    if code != 0 or target[0] == 0xFF:
        return None
    if kind == SOLICITATION:
        asker = _option(body, _SOURCE_LINK_LAYER) or source_mac
        return Solicitation(asker, ipaddress.IPv6Address(source), ipaddress.IPv6Address(target))
    if kind == ADVERTISEMENT:
        return Advertisement(_option(body, _TARGET_LINK_LAYER) or source_mac, ipaddress.IPv6Address(target))
    return None


def answer(asked: Solicitation, mac: bytes, source: ipaddress.IPv6Address | None = None) -> bytes:
    """The frame that says: the address asked for is at `mac`. `source`: the interface's link-local address."""
    if asked.source == _UNSPECIFIED:
        return unsolicited(asked.target, mac, source)
    return _advertisement(asked.target, mac, source or asked.target, (asked.mac, asked.source))


def unsolicited(target: ipaddress.IPv6Address, mac: bytes, source: ipaddress.IPv6Address | None = None) -> bytes:
    """To everybody: the address is at `mac`, whatever you knew before."""
    return _advertisement(target, mac, source or target, None)


def solicited_node(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast group in which `address` is asked for."""
    return ipaddress.IPv6Address(int(ipaddress.IPv6Address("ff02::1:ff00:0")) | int(address) & 0xFFFFFF)


def _advertisement(
    target: ipaddress.IPv6Address,
    mac: bytes,
    source: ipaddress.IPv6Address,
    asker: tuple[bytes, ipaddress.IPv6Address] | None,
) -> bytes:
    to_mac, to = asker or (b"\x33\x33" + _ALL_NODES.packed[-4:], _ALL_NODES)
    flags = _OVERRIDE | (_SOLICITED if asker else 0)
    option = bytes((_TARGET_LINK_LAYER, 1)) + mac
    body = _NEIGHBOUR.pack(ADVERTISEMENT, 0, 0, flags, target.packed) + option
    checksum = _checksum(source.packed, to.packed, body)
    body = _NEIGHBOUR.pack(ADVERTISEMENT, 0, checksum, flags, target.packed) + option
    head = _IPV6.pack(6 << 28, len(body), ICMPV6, _HOP_LIMIT, source.packed, to.packed)
    return _ETHERNET.pack(to_mac, mac, ETHERTYPE) + head + body


def _option(body: bytes, kind: int) -> bytes | None:
    """The link-layer address in an option of this kind; options are in units of 8 bytes."""
    at = _NEIGHBOUR.size
    while at + 8 <= len(body):
        length = body[at + 1] * 8
        if length == 0:
            return None
        if body[at] == kind and length == 8:
            return body[at + 2 : at + 8]
        at += length
    return None


def _checksum(source: bytes, destination: bytes, body: bytes) -> int:
    """The Internet checksum over pseudo header and body (RFC 8200, 8.1): 0 when `body` holds the right one."""
    data = source + destination + struct.pack("!II", len(body), ICMPV6) + body + b"\x00" * (len(body) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
