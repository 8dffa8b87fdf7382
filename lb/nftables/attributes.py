"""Netlink attributes: length, type, value, padded to four bytes (linux/netlink.h, struct nlattr). Pure."""

import struct
from collections.abc import Iterator

NESTED = 0x8000
_TYPE_BITS = 0x3FFF
_HEADER = struct.Struct("=HH")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute; `value` is at most 65,531 bytes, for the length field has 16 bits."""
    return _HEADER.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u8(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=B", value))


def u32(kind: int, value: int) -> bytes:
    """nf_tables wants its numbers in network byte order; negative ones (priorities, verdicts) as two's complement."""
    return attribute(kind, struct.pack(">I", value & 0xFFFFFFFF))


def u64(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">Q", value))


def each(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of the attributes in `payload`; a cut-off last one is left out."""
    at = 0
    while at + 4 <= len(payload):
        length, kind = _HEADER.unpack_from(payload, at)
        if length < 4 or at + length > len(payload):
            return
        yield kind & _TYPE_BITS, payload[at + 4 : at + length]
        at += (length + 3) & ~3


def parsed(payload: bytes) -> dict[int, bytes]:
    """The attributes in `payload` by type; of equal types the last one."""
    return dict(each(payload))


def string_of(value: bytes) -> str:
    return value.rstrip(b"\0").decode()


def number_of(value: bytes) -> int:
    return int.from_bytes(value, "big")
