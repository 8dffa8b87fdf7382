"""A VIP and its endpoints as keys and data of the sets in `layout.shapes`. Pure."""

import ipaddress
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from lb.endpoints import Endpoint
from lb.service.classes import ENDPOINT_COUNT_MAX, Class, Kind
from lb.service.layout import LOCAL_BASE, SLOT_BASE
from lb.service.vips import PROTOCOLS, Address, Network, Vip, WantedVip, packed_of

Place = tuple[str, bytes]
"""A set's name and a key in it."""

Elements = dict[Place, bytes]
"""What a table holds: data by place, b"" in a plain set; in `source-ranges` the last key of the range."""


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def vip_key(vip: Vip) -> bytes:
    return vip.address.packed + bytes((PROTOCOLS[vip.protocol], 0, 0, 0)) + vip.port.to_bytes(2, "big") + b"\0\0"


def protocol_of_key(key: bytes) -> int:
    return key[-8]


def vip_of_key(key: bytes) -> Vip:
    """The reverse of vip_key."""
    address = address_of_packed(key[:-8])
    protocol = next(name for name, assigned in PROTOCOLS.items() if assigned == key[-8])
    return Vip(address, protocol, int.from_bytes(key[-4:-2], "big"))


def address_of_packed(packed: bytes) -> Address:
    return ipaddress.ip_address(packed)


def endpoint_data(endpoint: Endpoint) -> bytes | None:
    """Address and port; None if the address cannot be read."""
    packed = packed_of(endpoint.address)
    return None if packed is None else packed + endpoint.port.to_bytes(2, "big") + b"\0\0"


def endpoint_of_data(data: bytes) -> str:
    """As "192.0.2.1:80" or "[2001:db8::1]:80"."""
    address, port = address_of_packed(data[:-4]), int.from_bytes(data[-4:-2], "big")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


@dataclass(slots=True)
class Places:
    """The endpoints of one VIP under one policy, in the order of their indexes, and their slots if it is sticky."""

    order: list[bytes] = field(default_factory=list)
    slots: dict[bytes, int] = field(default_factory=dict)

    def arranged(self, wanted: Sequence[bytes], *, sticky: bool) -> "Places":
        """With the endpoints `wanted`, moving as few as can be: newcomers fill the holes, then the last ones do."""
        wanted_once = dict.fromkeys(wanted)
        staying = dict.fromkeys(each for each in self.order if each in wanted_once)
        newcomers = [each for each in wanted_once if each not in staying]
        order = _filled(self.order, staying, newcomers)
        slots: dict[bytes, int] = {}
        if sticky:
            slots = {each: self.slots[each] for each in order if each in self.slots}
            taken = set(slots.values())
            free = (each for each in range(ENDPOINT_COUNT_MAX) if each not in taken)
            slots.update((each, next(free)) for each in order if each not in slots)
        return Places(order, slots)


def _filled(order: Sequence[bytes], staying: dict[bytes, None], newcomers: Sequence[bytes]) -> list[bytes]:
    filled: list[bytes | None] = []
    placed: set[bytes] = set()
    coming = iter(newcomers)
    for each in order:
        if each in staying and each not in placed:
            filled.append(each)
            placed.add(each)
        else:
            filled.append(next(coming, None))
    filled.extend(coming)
    result: list[bytes] = []
    at = 0
    while at < len(filled):
        found = filled[at]
        if found is None:
            found = filled.pop()
            if found is None or at == len(filled):
                continue
        result.append(found)
        at += 1
    return result


@dataclass(slots=True)
class Placed:
    """A VIP as it stands in the table."""

    wanted: WantedVip
    found_class: Class
    class_number: int
    cluster: Places
    local: Places

    def elements(self) -> Iterator[tuple[Place, bytes]]:
        key = vip_key(self.wanted.vip)
        yield ("vips", key), number(self.class_number)
        yield from _endpoint_elements(key, self.cluster, 0)
        yield from _endpoint_elements(key, self.local, LOCAL_BASE)
        for network in self.wanted.ranges or ():
            first, last = _box(network, key)
            yield ("source-ranges", first), last


def placed(wanted: WantedVip, number_of: Callable[[Class], int], before: tuple[Places, Places]) -> Placed:
    """Put a VIP's endpoints to the places they had `before` (Cluster, Local) as far as they still are."""
    cluster = _packed(wanted.endpoints.cluster)
    local = _packed(wanted.endpoints.local) if wanted.local_policy else []
    found = wanted.class_with(len(cluster), len(local))
    sticky = found.sticky_seconds > 0
    if wanted.kind is Kind.INTERNAL_LOCAL:
        cluster = []
    return Placed(
        wanted, found, number_of(found),
        before[0].arranged(cluster, sticky=sticky), before[1].arranged(local, sticky=sticky),
    )  # fmt: skip


def _packed(endpoints: Sequence[Endpoint]) -> list[bytes]:
    packed = dict.fromkeys(data for each in endpoints if (data := endpoint_data(each)))
    return list(packed)[:ENDPOINT_COUNT_MAX]


def _endpoint_elements(key: bytes, places: Places, base: int) -> Iterator[tuple[Place, bytes]]:
    if not places.slots:
        for index, data in enumerate(places.order):
            yield ("endpoints", key + number(base + index)), data
        return
    for index, data in enumerate(places.order):
        slot = number(SLOT_BASE + base + places.slots[data])
        yield ("slots", key + number(SLOT_BASE + base + index)), slot
        yield ("endpoints", key + slot), data


def _box(network: Network, key: bytes) -> tuple[bytes, bytes]:
    return network.network_address.packed + key, network.broadcast_address.packed + key


def places_present(present: Elements) -> dict[bytes, tuple[Places, Places]]:
    """Which endpoint stood where, by VIP key, as read back from the kernel."""
    numbered: dict[bytes, dict[int, bytes]] = {}
    slots: dict[bytes, dict[int, int]] = {}
    for (name, key), data in present.items():
        if name == "endpoints":
            numbered.setdefault(key[:-4], {})[struct.unpack("=I", key[-4:])[0]] = data
        elif name == "slots":
            slots.setdefault(key[:-4], {})[struct.unpack("=I", key[-4:])[0]] = struct.unpack("=I", data)[0]
    found: dict[bytes, tuple[Places, Places]] = {}
    for key, entries in numbered.items():
        both = (Places(), Places())
        for index in sorted(slots.get(key, ())):
            slot = slots[key][index]
            if slot in entries:
                side = both[bool(index & LOCAL_BASE)]
                side.order.append(entries[slot])
                side.slots[entries[slot]] = slot & ~(SLOT_BASE | LOCAL_BASE)
        for index in sorted(entries):
            if not index & SLOT_BASE:
                both[bool(index & LOCAL_BASE)].order.append(entries[index])
        found[key] = both
    return found
