"""Address pools: what `--pool NAME=FIRST-LAST` says.

Pure. A pool is one or more ranges of addresses, of either family. Pools never overlap, so an address names its pool.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_FORM = "write NAME=FIRST-LAST or NAME=CIDR, for example public=192.0.2.10-192.0.2.50"


class BadPool(ValueError):
    """A --pool flag cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses from `first` to `last`, both included, of one family."""

    first: Address
    last: Address

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.first.version

    def __contains__(self, address: Address) -> bool:
        return address.version == self.family and int(self.first) <= int(address) <= int(self.last)

    def overlaps(self, other: "Range") -> bool:
        return self.family == other.family and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Pool:
    name: str
    ranges: tuple[Range, ...]

    def __contains__(self, address: Address) -> bool:
        return any(address in each for each in self.ranges)

    def of_family(self, family: int) -> tuple[Range, ...]:
        return tuple(each for each in self.ranges if each.family == family)


def parse_pools(flags: Sequence[str]) -> tuple[Pool, ...]:
    """Read the values of all --pool flags; several with one name add up to one pool (one range per family, say).

    A range is FIRST-LAST (both included), CIDR or one address; several are separated by commas. Of a CIDR the addresses
    that no host can have are left out: network and broadcast (IPv4), the subnet-router anycast address (IPv6).
    Raises BadPool for anything that cannot be meant.
    """
    ranges: dict[str, list[Range]] = {}
    for flag in flags:
        name, equals, texts = flag.partition("=")
        if not equals or not texts.strip():
            raise BadPool(f"{flag!r}: {_FORM}")
        if not _NAME.fullmatch(name):
            raise BadPool(f"{flag!r}: the pool's name {name!r} may have lower-case letters, digits, '-' and '.' only")
        for text in texts.split(","):
            found = _parse_range(flag, text.strip())
            _refuse_overlap(flag, found, ranges)
            ranges.setdefault(name, []).append(found)
    return tuple(Pool(name, tuple(each)) for name, each in ranges.items())


def pool_of(address: Address, pools: Iterable[Pool]) -> Pool | None:
    return next((pool for pool in pools if address in pool), None)


def parse_address(text: str) -> Address | None:
    """The address that `text` spells, or None."""
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _parse_range(flag: str, text: str) -> Range:
    found = _parse_cidr(flag, text) if "/" in text else _parse_first_last(flag, text)
    for end in (found.first, found.last):
        for kind in ("loopback", "multicast", "unspecified", "link_local"):
            if getattr(end, f"is_{kind}"):
                raise BadPool(f"{flag!r}: {end} is a {kind.replace('_', '-')} address; no client can be sent to it")
        if end == ipaddress.IPv4Address("255.255.255.255"):
            raise BadPool(f"{flag!r}: {end} is the broadcast address; no client can be sent to it")
    return found


def _parse_first_last(flag: str, text: str) -> Range:
    first_text, dash, last_text = text.partition("-")
    ends = []
    for each in (first_text, last_text) if dash else (first_text, first_text):
        address = parse_address(each)
        if address is None or "%" in each:
            raise BadPool(f"{flag!r}: {each.strip()!r} is not an IP address; {_FORM}")
        ends.append(address)
    first, last = ends
    if first.version != last.version:
        raise BadPool(f"{flag!r}: {first} and {last} are of different families; give each family a --pool of its own")
    if int(first) > int(last):
        raise BadPool(f"{flag!r}: {first} comes after {last}; write the smaller address first")
    return Range(first, last)


def _parse_cidr(flag: str, text: str) -> Range:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise BadPool(f"{flag!r}: {text!r} is not a CIDR; {_FORM}") from None
    if network.network_address != ipaddress.ip_address(text.partition("/")[0]):
        raise BadPool(f"{flag!r}: {text} has host bits set; write {network}, or FIRST-LAST for a part of it")
    first, last = network.network_address, network.broadcast_address
    if network.num_addresses > 2:
        first += 1
        if network.version == 4:
            last -= 1
    return Range(first, last)


def _refuse_overlap(flag: str, found: Range, ranges: dict[str, list[Range]]) -> None:
    for name, others in ranges.items():
        for other in others:
            if found.overlaps(other):
                raise BadPool(f"{flag!r}: {found} overlaps {other} of pool {name!r}; an address belongs to one pool")
