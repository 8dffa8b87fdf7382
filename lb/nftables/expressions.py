"""The expressions that rules are made of (linux/netfilter/nf_tables.h). Pure: each function returns bytes.

Registers: 16 of four bytes each. A value wider than one takes the following ones, and a look-up key is whatever lies
in consecutive registers. They are named here by number, 0 to 15. What a rule puts there is gone in the next rule.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

from lb.nftables.attributes import attribute, nested, text, u8, u32, u64

_REGISTER_FIRST = 8  # NFT_REG32_00; 0 is the verdict
_VERDICT_REGISTER = 0


class Verdict(IntEnum):
    DROP = 0
    ACCEPT = 1
    JUMP = -3
    GOTO = -4
    RETURN = -5


@dataclass(frozen=True, slots=True)
class Family:
    """What differs between IPv4 and IPv6. Offsets and lengths in bytes, in the network header."""

    number: int
    """NFPROTO_IPV4, NFPROTO_IPV6: the same as AF_INET and AF_INET6 on Linux."""
    name: str
    address_bytes: int
    source_offset: int
    destination_offset: int
    port_unreachable: int
    """ICMP code, RFC 792 and RFC 4443."""

    @property
    def address_registers(self) -> int:
        return self.address_bytes // 4


IPV4 = Family(2, "ip", 4, 12, 16, 3)
IPV6 = Family(10, "ip6", 16, 8, 24, 4)
FAMILIES = (IPV4, IPV6)


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _register(kind: int, number: int) -> bytes:
    return u32(kind, _REGISTER_FIRST + number)


def source(family: Family, into: int) -> bytes:
    return _payload(1, family.source_offset, family.address_bytes, into)


def destination(family: Family, into: int) -> bytes:
    return _payload(1, family.destination_offset, family.address_bytes, into)


def destination_port(into: int) -> bytes:
    """Of TCP, UDP and SCTP alike; two bytes, the rest of the register becomes zero."""
    return _payload(2, 2, 2, into)


def _payload(base: int, offset: int, length: int, into: int) -> bytes:
    return _expression("payload", _register(1, into), u32(2, base), u32(3, offset), u32(4, length))


_META_PRIORITY, _META_MARK, _META_L4PROTO = 2, 3, 16


def l4_protocol(into: int) -> bytes:
    return _expression("meta", _register(1, into), u32(2, _META_L4PROTO))


def mark(into: int) -> bytes:
    return _expression("meta", _register(1, into), u32(2, _META_MARK))


def set_mark(register: int) -> bytes:
    return _expression("meta", u32(2, _META_MARK), _register(3, register))


def priority(into: int) -> bytes:
    """The packet's queueing priority: 32 bits in which a rule can leave a number for the next one."""
    return _expression("meta", _register(1, into), u32(2, _META_PRIORITY))


def set_priority(register: int) -> bytes:
    return _expression("meta", u32(2, _META_PRIORITY), _register(3, register))


def number(value: int, into: int) -> bytes:
    return _expression("immediate", _register(1, into), nested(2, attribute(1, struct.pack("=I", value))))


def bitwise(register: int, mask: int, xor: int) -> bytes:
    """register = register & mask ^ xor, on one register in host byte order."""
    return _expression(
        "bitwise", _register(1, register), _register(2, register), u32(3, 4),
        nested(4, attribute(1, struct.pack("=I", mask))), nested(5, attribute(1, struct.pack("=I", xor))),
    )  # fmt: skip


def compare(register: int, value: bytes, *, equal: bool = True) -> bytes:
    """Go on with the rule if the register holds `value` (or does not)."""
    return _expression("cmp", _register(1, register), u32(2, 0 if equal else 1), nested(3, attribute(1, value)))


def in_set(name: str, key: int, *, inverted: bool = False) -> bytes:
    """Go on with the rule if the key in registers from `key` is in the set (or is not)."""
    return _expression("lookup", text(1, name), _register(2, key), u32(5, 1 if inverted else 0))


def map_value(name: str, key: int, into: int) -> bytes:
    """Load what the map has for the key; a key it does not have ends the rule."""
    return _expression("lookup", text(1, name), _register(2, key), _register(3, into))


def map_verdict(name: str, key: int) -> bytes:
    """Do what the verdict map has for the key; a key it does not have ends the rule."""
    return _expression("lookup", text(1, name), _register(2, key), u32(3, _VERDICT_REGISTER))


def verdict(code: Verdict, chain: str = "") -> bytes:
    return _expression("immediate", u32(1, _VERDICT_REGISTER), nested(2, verdict_data(code, chain)))


def verdict_data(code: Verdict, chain: str = "") -> bytes:
    """A verdict as data, also of an element of a verdict map."""
    return nested(2, u32(1, code), *((text(2, chain),) if chain else ()))


def random_below(modulus: int, into: int, *, offset: int = 0) -> bytes:
    """A number from `offset` to offset + modulus - 1, in host byte order."""
    return _expression("numgen", _register(1, into), u32(2, modulus), u32(3, 1), u32(4, offset))


def dnat(family: Family, address: int, port: int) -> bytes:
    """Change the destination to the address and port in these registers; ends the chain."""
    return _expression(
        "nat", u32(1, 1), u32(2, family.number),
        _register(3, address), _register(4, address), _register(5, port), _register(6, port),
        u32(7, 0x03),  # NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED, as nft sets them
    )  # fmt: skip


def masquerade() -> bytes:
    """Change the source to an address of this node, the port being drawn at random: two nodes' flows must not meet."""
    return _expression("masq", u32(1, 1 << 4))  # NF_NAT_RANGE_PROTO_RANDOM_FULLY


def reject_with_reset() -> bytes:
    return _expression("reject", u32(1, 1), u8(2, 0))


def reject_with_icmp(family: Family) -> bytes:
    return _expression("reject", u32(1, 0), u8(2, family.port_unreachable))


_FIB_ADDRESS_TYPE, _FIB_SOURCE = 3, 1
LOCAL_ADDRESS = struct.pack("=I", 2)  # RTN_LOCAL


def source_address_type(into: int) -> bytes:
    """What the routing table says of the source address: `LOCAL_ADDRESS` if it is this node's."""
    return _expression("fib", _register(1, into), u32(2, _FIB_ADDRESS_TYPE), u32(3, _FIB_SOURCE))


_CT_STATUS = 2
CT_STATUS_DNAT = 1 << 5


def connection_status(into: int) -> bytes:
    """Bits of the connection's status, host byte order (`CT_STATUS_DNAT`)."""
    return _expression("ct", _register(1, into), u32(2, _CT_STATUS))


def remember(name: str, key: int, data: int, timeout_milliseconds: int) -> bytes:
    """Add an element to a dynamic map; one that is there keeps its data, and its time starts anew."""
    return _expression(
        "dynset", text(1, name), u32(3, 1), _register(4, key), _register(5, data), u64(6, timeout_milliseconds)
    )  # fmt: skip


def forget(name: str, key: int, data: int) -> bytes:
    """Delete an element of a dynamic map. The kernel asks for a data register and does not look at it."""
    return _expression("dynset", text(1, name), u32(3, 2), _register(4, key), _register(5, data))
