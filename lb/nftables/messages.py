"""Messages of nf_tables: tables, sets, chains, rules, elements, gathered in a `Transaction`. Pure.

A transaction is taken by the kernel as a whole or not at all, and no packet sees half of it.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from lb.nftables.attributes import NESTED, attribute, each, nested, parsed, text, u32
from lb.nftables.expressions import Family, Verdict, verdict_data

SUBSYSTEM = 10
ELEMENTS_PER_MESSAGE = 400
"""An attribute ends at 64 kB; 400 of our largest elements make 48 kB."""

_REQUEST, _CREATE, _APPEND, _EXCLUSIVE = 0x1, 0x400, 0x800, 0x200


class Kind(IntEnum):
    NEWTABLE = 0
    GETTABLE = 1
    DELTABLE = 2
    NEWCHAIN = 3
    GETCHAIN = 4
    DELCHAIN = 5
    NEWRULE = 6
    DELRULE = 8
    NEWSET = 9
    NEWSETELEM = 12
    GETSETELEM = 13
    DELSETELEM = 14


class SetFlags(IntFlag):
    NONE = 0
    INTERVAL = 0x04
    MAP = 0x08
    TIMEOUT = 0x10
    DYNAMIC = 0x20
    CONCATENATED_INTERVAL = 0x80


@dataclass(frozen=True, slots=True)
class DataType:
    """A type as `nft` prints it: its number there and its length in bytes."""

    number: int
    length: int

    @property
    def padded(self) -> int:
        return (self.length + 3) & ~3


IPV4_ADDRESS = DataType(7, 4)
IPV6_ADDRESS = DataType(8, 16)
PROTOCOL = DataType(12, 1)
PORT = DataType(13, 2)
NUMBER = DataType(19, 4)
"""A number in host byte order; `nft` calls it a mark."""
PRIORITY = DataType(23, 4)
"""The same, as `meta priority` has it; `nft` prints it as two halves in hexadecimal."""
VERDICT = DataType(0xFFFFFF00, 0)


@dataclass(frozen=True, slots=True)
class SetShape:
    """A set, or with `data` a map. Several fields are a concatenation, each padded to four bytes."""

    name: str
    key: tuple[DataType, ...]
    data: tuple[DataType, ...] = ()
    flags: SetFlags = SetFlags.NONE
    size_max: int = 0
    """0: no limit; a set that rules add to is limited to 65,535 elements then."""


@dataclass(frozen=True, slots=True)
class BaseHook:
    type: str
    """"filter" or "nat"."""
    number: int
    """NF_INET_PRE_ROUTING 0, LOCAL_IN 1, FORWARD 2, LOCAL_OUT 3, POST_ROUTING 4."""
    priority: int


PREROUTING, OUTPUT, POSTROUTING = 0, 3, 4

Element = tuple[bytes, bytes]
"""Key and data; data is b"" in a set."""


@dataclass(slots=True)
class Message:
    kind: Kind
    flags: int
    family: int
    body: bytes
    about: str
    """What an error message says of it: "set vips"."""


@dataclass(slots=True)
class Transaction:
    """Messages for one table, in the order in which the kernel takes them."""

    family: Family
    table: str
    messages: list[Message] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.messages)

    def _add(self, kind: Kind, flags: int, about: str, *attributes: bytes) -> None:
        body = text(1, self.table) + b"".join(attributes)
        self.messages.append(Message(kind, flags, self.family.number, body, f"{self.family.name} {self.table} {about}"))

    def add_table(self, comment: str = "") -> None:
        """`comment` is read back by `table_comment`: kept as `nft` keeps comments, at most 127 bytes."""
        note = comment.encode() + b"\0"
        userdata = attribute(6, bytes((0, len(note))) + note) if comment else b""
        self._add(Kind.NEWTABLE, _CREATE, "table", userdata)

    def delete_table(self) -> None:
        self._add(Kind.DELTABLE, 0, "table")

    def add_set(self, shape: SetShape, identity: int) -> None:
        """`identity` tells new sets of one transaction apart."""
        parts = [text(2, shape.name), u32(3, shape.flags), u32(4, _type_of(shape.key)), u32(5, _length_of(shape.key))]
        if shape.data:
            parts += [u32(6, _type_of(shape.data)), u32(7, _length_of(shape.data))]
        if SetFlags.CONCATENATED_INTERVAL in shape.flags:
            parts.append(nested(9, nested(2, *(nested(1, u32(1, field_type.length)) for field_type in shape.key))))
        elif shape.size_max:
            parts.append(nested(9, u32(1, shape.size_max)))
        parts += [u32(10, identity), attribute(13, _byte_orders(shape))]
        self._add(Kind.NEWSET, _CREATE, f"set {shape.name}", *parts)

    def add_chain(self, name: str, hook: BaseHook | None = None) -> None:
        base = (nested(4, u32(1, hook.number), u32(2, hook.priority)), text(7, hook.type)) if hook else ()
        self._add(Kind.NEWCHAIN, _CREATE, f"chain {name}", text(3, name), *base)

    def delete_chain(self, name: str) -> None:
        self._add(Kind.DELCHAIN, 0, f"chain {name}", text(3, name))

    def flush_chain(self, name: str) -> None:
        self._add(Kind.DELRULE, 0, f"rules of chain {name}", text(2, name))

    def add_rule(self, chain: str, *expressions: bytes) -> None:
        self._add(Kind.NEWRULE, _CREATE | _APPEND, f"rule in chain {chain}", text(2, chain), nested(4, *expressions))

    def add_elements(self, name: str, elements: Sequence[Element]) -> None:
        """Elements whose key is there already with other data make the transaction fail: delete them first."""
        self._elements(Kind.NEWSETELEM, name, [_plain(key, data) for key, data in elements])

    def delete_elements(self, name: str, keys: Iterable[bytes]) -> None:
        self._elements(Kind.DELSETELEM, name, [_plain(key, b"") for key in keys])

    def add_verdicts(self, name: str, verdicts: Sequence[tuple[bytes, Verdict, str]]) -> None:
        packed = [nested(1, _key(key), nested(2, verdict_data(code, chain))) for key, code, chain in verdicts]
        self._elements(Kind.NEWSETELEM, name, packed)

    def add_ranges(self, name: str, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        """First and last key of each range, both included; for a set with SetFlags.INTERVAL."""
        self._elements(Kind.NEWSETELEM, name, [_range(first, last) for first, last in ranges])

    def delete_ranges(self, name: str, ranges: Iterable[tuple[bytes, bytes]]) -> None:
        self._elements(Kind.DELSETELEM, name, [_range(first, last) for first, last in ranges])

    def add_boxes(self, name: str, boxes: Iterable[tuple[bytes, bytes]]) -> None:
        """First and last key, each field being a range; for a set with SetFlags.CONCATENATED_INTERVAL."""
        self._elements(Kind.NEWSETELEM, name, [_box(first, last) for first, last in boxes])

    def delete_boxes(self, name: str, boxes: Iterable[tuple[bytes, bytes]]) -> None:
        self._elements(Kind.DELSETELEM, name, [_box(first, last) for first, last in boxes])

    def flush_elements(self, name: str) -> None:
        self._add(Kind.DELSETELEM, 0, f"elements of {name}", text(2, name))

    def _elements(self, kind: Kind, name: str, packed: list[bytes]) -> None:
        flags = _CREATE if kind is Kind.NEWSETELEM else 0
        for start in range(0, len(packed), ELEMENTS_PER_MESSAGE):
            chunk = nested(3, *packed[start : start + ELEMENTS_PER_MESSAGE])
            self._add(kind, flags, f"set {name}", text(2, name), chunk)


def _byte_orders(shape: SetShape) -> bytes:
    """What `nft` has to know to print plain numbers: whether key and data are in host (1) or network (2) byte order."""
    orders = (1 if shape.key == (NUMBER,) else 2, 1 if shape.data == (NUMBER,) else 2)
    return b"".join(bytes((kind, 4)) + struct.pack("=I", order) for kind, order in enumerate(orders))


def _type_of(fields: tuple[DataType, ...]) -> int:
    """`nft` packs the types of a concatenation into one number, six bits each."""
    number = 0
    for each_type in fields:
        number = number << 6 | each_type.number if len(fields) > 1 else each_type.number
    return number


def _length_of(fields: tuple[DataType, ...]) -> int:
    return fields[0].length if len(fields) == 1 else sum(each_type.padded for each_type in fields)


def _key(key: bytes) -> bytes:
    return nested(1, attribute(1, key))


_ELEMENT_OF_SET = struct.Struct("=HHHHHH")
_DATA = struct.Struct("=HHHH")


def _plain(key: bytes, data: bytes) -> bytes:
    # The same as nested(1, nested(1, attribute(1, key)), nested(2, attribute(1, data))), in a third of the time:
    # a first load has 50,000 of them. Keys and data are multiples of four bytes, so there is no padding.
    size = len(key)
    if len(key) % 4 or len(data) % 4:
        return nested(1, _key(key), *((nested(2, attribute(1, data)),) if data else ()))
    if not data:
        return _ELEMENT_OF_SET.pack(12 + size, 1 | NESTED, 8 + size, 1 | NESTED, 4 + size, 1) + key
    more = len(data)
    return (
        _ELEMENT_OF_SET.pack(20 + size + more, 1 | NESTED, 8 + size, 1 | NESTED, 4 + size, 1)
        + key
        + _DATA.pack(8 + more, 2 | NESTED, 4 + more, 1)
        + data
    )


_INTERVAL_END = 1


def range_elements(ranges: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes, bytes]]:
    """The elements that `add_ranges` makes, as `elements_in` reads them back."""
    found = []
    for first, last in ranges:
        found.append((first, b"", b""))
        if last != b"\xff" * len(last):  # a range that reaches the end of all keys has no element after it
            found.append(((int.from_bytes(last, "big") + 1).to_bytes(len(last), "big"), b"", b"end"))
    return found


def _range(first: bytes, last: bytes) -> bytes:
    elements = range_elements([(first, last)])
    return b"".join(nested(1, _key(key), *((u32(3, _INTERVAL_END),) if end else ())) for key, _, end in elements)


def _box(first: bytes, last: bytes) -> bytes:
    return nested(1, _key(first), nested(10, attribute(1, last)))


_NETLINK = struct.Struct("=IHHII")
_NFGEN = struct.Struct(">BBH")
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ACKNOWLEDGE = 0x4


def packet(message: Message, sequence: int, *, more_flags: int = 0) -> bytes:
    """One message with its headers, as the socket takes it."""
    kind = SUBSYSTEM << 8 | message.kind
    flags = message.flags | _REQUEST | more_flags
    return (
        _NETLINK.pack(20 + len(message.body), kind, flags, sequence, 0)
        + _NFGEN.pack(message.family, 0, 0)
        + message.body
    )


def _bracket(kind: int, sequence: int) -> bytes:
    """The beginning or the end of a transaction."""
    return _NETLINK.pack(20, kind, _REQUEST, sequence, 0) + _NFGEN.pack(0, 0, SUBSYSTEM)


def batch(messages: Sequence[Message], sequence: int) -> bytes:
    """All messages as one transaction; message i has number `sequence` + 1 + i, and the last one is acknowledged."""
    framed = [_bracket(_BATCH_BEGIN, sequence)]
    last = len(messages) - 1
    for index, message in enumerate(messages):
        flag = _ACKNOWLEDGE if index == last else 0
        framed.append(packet(message, sequence + 1 + index, more_flags=flag))
    framed.append(_bracket(_BATCH_END, sequence + 1 + len(messages)))
    return b"".join(framed)


def query(kind: Kind, family: Family, table: str, name: str = "") -> Message:
    """Ask for a table (GETTABLE), all chains of a family (GETCHAIN), or a set's elements (GETSETELEM)."""
    body = b"" if kind is Kind.GETCHAIN else text(1, table) + (text(2, name) if name else b"")
    return Message(kind, 0, family.number, body, f"{family.name} {table} {name}".rstrip())


def elements_in(body: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Key, data and last key (b"" without one) of each element in an answer to GETSETELEM.

    The data of a verdict is the name of its chain. Ends of intervals are elements of their own in the kernel; they come
    as key, b"", b"end".
    """
    found = []
    for kind, listed in each(body):
        if kind != 3:
            continue
        for _, packed in each(listed):
            plain = _plain_parts(packed)
            if plain:
                found.append(plain)
                continue
            parts = parsed(packed)
            data = _data_of(parts[2]) if 2 in parts else b""
            last = parsed(parts[10])[1] if 10 in parts else b""
            if 3 in parts and int.from_bytes(parts[3], "big") & _INTERVAL_END:
                last = b"end"
            found.append((parsed(parts[1]).get(1, b""), data, last))
    return found


def _plain_parts(packed: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The usual element, key and data and nothing else, read in a third of the time; None for any other."""
    if len(packed) < 8:
        return None
    outer, kind, inner, what = _DATA.unpack_from(packed)
    if kind & ~NESTED != 1 or what != 1 or inner != outer - 4 or outer % 4:
        return None
    if outer == len(packed):
        return packed[8:outer], b"", b""
    if len(packed) < outer + 8:
        return None
    outer_data, kind, inner, what = _DATA.unpack_from(packed, outer)
    if kind & ~NESTED != 2 or what != 1 or inner != outer_data - 4 or outer + outer_data != len(packed):
        return None
    return packed[8:outer], packed[outer + 8 :], b""


def _data_of(packed: bytes) -> bytes:
    found = parsed(packed)
    return parsed(found[2]).get(2, b"").rstrip(b"\0") if 2 in found else found.get(1, b"")


def element_at(message: Message, offset: int) -> bytes | None:
    """The key of the element that lies `offset` bytes into the framed message: what an error is about."""
    at = 20
    payload = message.body
    position = 0
    while position + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, position)
        if kind & ~NESTED == 3 and position + at < offset <= position + at + length:
            return _element_within(payload[position + 4 : position + length], offset - at - position - 4)
        position += (length + 3) & ~3
    return None


def _element_within(listed: bytes, offset: int) -> bytes | None:
    position = 0
    for _, packed in each(listed):
        size = (len(packed) + 7) & ~3
        if position <= offset < position + size:
            return parsed(parsed(packed)[1]).get(1)
        position += size
    return None


def table_comment(body: bytes) -> str:
    """The comment of the table in an answer to GETTABLE, "" without one."""
    userdata = parsed(body).get(6, b"")
    return userdata[2:].rstrip(b"\0").decode(errors="replace") if len(userdata) > 2 else ""
