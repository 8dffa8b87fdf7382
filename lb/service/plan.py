"""Wanted and present -> operations: what has to change in a table, Service by Service. Pure.

A `TablePlan` knows what one family's table holds. `update` puts one Service in line, `take` returns what that changes;
between them any number of Services may be updated. After a failed transaction, and at the start, `adopt` begins anew
from what the kernel says it holds, and every Service has to be updated once.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lb.cluster.objects import Key
from lb.nftables.expressions import IPV4, Family
from lb.nftables.messages import Transaction
from lb.service import layout
from lb.service.classes import Class, Detection, class_of_chain
from lb.service.elements import (
    Elements,
    Place,
    Placed,
    Places,
    endpoint_data,
    number,
    placed,
    places_present,
    vip_key,
)
from lb.service.layout import CLASS_BASE, Pick
from lb.service.vips import Address, Network, WantedVip

Range = tuple[bytes, bytes]
"""First and last key."""

UNUSED_CLASSES_MAX = 32
"""A rollout passes through many counts and comes back to them; more idle chains than this make commits slower."""


@dataclass(slots=True)
class Present:
    """What the kernel holds in one table."""

    elements: Elements = field(default_factory=dict)
    classes: dict[int, str] = field(default_factory=dict)
    """Number -> name of its chain."""


@dataclass(slots=True)
class Operations:
    """What has to be done to one table."""

    picks: list[Pick] = field(default_factory=list)
    classes: list[tuple[int, Class]] = field(default_factory=list)
    """Chains to write, whether they are there or not."""
    foreign: list[int] = field(default_factory=list)
    """Numbers in `classes` that lead to chains which are none of ours."""
    delete: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """By set: key -> the data it has now."""
    add: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    """By set: key -> data. A key that stands in `delete` too gets other data."""

    @property
    def elements(self) -> int:
        """How many are deleted and added; one that gets other data counts twice."""
        return sum(map(len, self.delete.values())) + sum(map(len, self.add.values()))

    def __len__(self) -> int:
        return self.elements + len(self.picks) + len(self.classes) + len(self.foreign)

    # Three transactions, for a packet may be between two look-ups when one of them is committed: rules are those of the
    # generation it began with, elements those of the moment. So what it may be led to comes before, and goes after.

    def prepare(self, transaction: Transaction, detection: Detection) -> None:
        """First: chains that elements will lead to."""
        transaction.delete_elements("classes", map(number, self.foreign))
        for pick in self.picks:
            layout.add_pick(transaction, pick)
        for class_number, found in self.classes:
            layout.add_class(transaction, found, class_number, detection)

    def switch(self, transaction: Transaction) -> None:
        """Then: everything that is added or gets other data, and whatever nothing leads to from elsewhere."""
        for name, gone in self.delete.items():
            replaced = self.add.get(name, {})
            _delete(transaction, name, {k: v for k, v in gone.items() if name not in _LED_TO or k in replaced})
        for name, new in self.add.items():
            if name == "source-ranges":
                transaction.add_boxes(name, new.items())
            else:
                transaction.add_elements(name, list(new.items()))

    def clear(self, transaction: Transaction) -> None:
        """Last: endpoints that no VIP's class counts any more."""
        for name in _LED_TO & self.delete.keys():
            replaced = self.add.get(name, {})
            _delete(transaction, name, {k: v for k, v in self.delete[name].items() if k not in replaced})


_LED_TO = {"endpoints", "slots"}


def _delete(transaction: Transaction, name: str, gone: dict[bytes, bytes]) -> None:
    if name == "source-ranges":
        transaction.delete_boxes(name, gone.items())
    else:
        transaction.delete_elements(name, gone)


@dataclass(slots=True)
class _Owned:
    """What one Service has brought into a table."""

    vips: set[bytes] = field(default_factory=set)
    shared: frozenset[Place] = frozenset()


class TablePlan:
    """The Services of one address family on one node."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self._forget_all()

    def _forget_all(self) -> None:
        self.placed: dict[bytes, Placed] = {}
        """VIPs by `elements.vip_key`."""
        self._claims: dict[bytes, dict[Key, WantedVip]] = {}
        self._owned: dict[Key, _Owned] = {}
        self._contested: set[bytes] = set()
        self._shared: Counter[Place] = Counter()
        self._numbers: dict[Class, int] = {}
        self._uses: Counter[Class] = Counter()
        self._written: set[Class] = set()
        self._picks: set[Pick] = set()
        self._seeds: dict[bytes, tuple[Places, Places]] = {}
        self._before: Elements = {}
        self._after: Elements = {}
        self._touched: set[Place] = set()
        self._adopting = False
        self._new = Operations()
        self._moved: set[bytes] = set()

    # -- in

    def adopt(self, present: Present) -> None:
        """Forget everything and begin from what the kernel holds: what no Service wants again will be deleted.

        Of the elements only what differs will be changed. The chains of classes that are wanted are written anew, so
        that a full pass also mends rules that others have changed.
        """
        self._forget_all()
        self._before = dict(present.elements)
        self._adopting = True
        self._seeds = places_present(present.elements)
        for class_number, chain in present.classes.items():
            found = class_of_chain(chain)
            if found is not None and found not in self._numbers:
                self._numbers[found] = class_number
            else:
                self._new.foreign.append(class_number)

    def update(self, service: Key, wanted: Sequence[WantedVip], cluster_ips: Sequence[Address] = ()) -> None:
        """Put one Service in line; nothing wanted: it is gone. All of the plan's family."""
        by_key = {vip_key(each.vip): each for each in wanted}
        owned = self._owned.setdefault(service, _Owned())
        for key in owned.vips - by_key.keys():
            claims = self._claims[key]
            del claims[service]
            if not claims:
                del self._claims[key]
        for key, each in by_key.items():
            self._claims.setdefault(key, {})[service] = each
        for key in owned.vips | by_key.keys():
            self._settle(key)
        owned.vips = set(by_key)
        self._share(owned, frozenset(_shared_elements(wanted, cluster_ips)))
        if not wanted and not owned.shared:
            del self._owned[service]

    def services(self) -> list[Key]:
        """Those that have brought something in."""
        return list(self._owned)

    def losers(self) -> list[tuple[WantedVip, WantedVip]]:
        """VIPs that more than one Service wants: who does not get it, and who does."""
        found = []
        for key in self._contested:
            winner = self.placed[key].wanted
            found += [(each, winner) for each in self._claims[key].values() if each is not winner]
        return found

    def _settle(self, key: bytes) -> None:
        """Give the VIP to the oldest Service that wants it."""
        before = self.placed.get(key)
        claims = self._claims.get(key)
        if claims and len(claims) > 1:
            self._contested.add(key)
        else:
            self._contested.discard(key)
        winner = min(claims.values(), key=lambda each: (each.since, each.service)) if claims else None
        if before is not None and winner == before.wanted:
            return
        old = dict(before.elements()) if before else {}
        new: dict[Place, bytes] = {}
        if winner is None:
            self.placed.pop(key, None)
        else:
            places = (before.cluster, before.local) if before else self._seeds.pop(key, (Places(), Places()))
            now = placed(winner, self._number_of, places)
            self.placed[key] = now
            self._uses[now.found_class] += 1
            new = dict(now.elements())
        if before:
            self._uses[before.found_class] -= 1
        self._moved.add(key)
        self._touch(old, new)

    def _touch(self, old: Elements, new: Elements) -> None:
        for place, data in old.items():
            # What the kernel has is what was there at the first touch since the last transaction.
            if place not in self._touched and not self._adopting:
                self._before[place] = data
            self._touched.add(place)
            if place not in new:
                self._after.pop(place, None)
        self._touched.update(new)
        self._after.update(new)

    def _share(self, owned: _Owned, now: frozenset[Place]) -> None:
        """Elements that several Services may bring in: they go with the last one."""
        for place in now - owned.shared:
            self._shared[place] += 1
            if self._shared[place] == 1:
                self._touch({}, {place: b""})
        for place in owned.shared - now:
            self._shared[place] -= 1
            if not self._shared[place]:
                del self._shared[place]
                self._touch({place: b""}, {})
        owned.shared = now

    def _number_of(self, found: Class) -> int:
        class_number = self._numbers.get(found)
        if class_number is None:
            taken = {*self._numbers.values(), *self._new.foreign}
            class_number = next(each for each in range(CLASS_BASE, CLASS_BASE + len(taken) + 1) if each not in taken)
            self._numbers[found] = class_number
        if found not in self._written:
            self._written.add(found)
            for pick in layout.picks_of(found):
                if pick not in self._picks:
                    self._picks.add(pick)
                    self._new.picks.append(pick)
            self._new.classes.append((class_number, found))
        return class_number

    # -- out

    def take(self) -> tuple[Operations, set[bytes]]:
        """What has to be done, and the keys of the VIPs that have changed; forgets both."""
        operations, moved = self._new, self._moved
        for place, data in self._before.items():
            if self._after.get(place) != data:
                operations.delete.setdefault(place[0], {})[place[1]] = data
        for place, data in self._after.items():
            if self._before.get(place) != data:
                operations.add.setdefault(place[0], {})[place[1]] = data
        self._before, self._after, self._touched, self._adopting = {}, {}, set(), False
        self._new, self._moved, self._seeds = Operations(), set(), {}
        return operations, moved

    def chains(self) -> set[str]:
        """The chains of classes and picks that belong to the table."""
        return {name for found in self._numbers for name in _chains_of(found)}

    def unused(self) -> list[tuple[int, Class]]:
        """Classes that no VIP has any more."""
        return [(class_number, found) for found, class_number in self._numbers.items() if not self._uses[found]]

    def forget_unused(self) -> tuple[list[bytes], list[str]]:
        """Forget the unused classes: the keys of their elements in `classes`, and the chains to delete after them."""
        before = self.chains()
        keys = []
        for class_number, found in self.unused():
            keys.append(number(class_number))
            del self._numbers[found]
            del self._uses[found]
            self._written.discard(found)
        gone = before - self.chains()
        self._picks = {pick for pick in self._picks if layout.pick_chain(pick) not in gone}
        return keys, sorted(gone)


def _chains_of(found: Class) -> Iterable[str]:
    yield found.chain
    yield from map(layout.pick_chain, layout.picks_of(found))


def _shared_elements(wanted: Iterable[WantedVip], cluster_ips: Iterable[Address]) -> Iterable[Place]:
    for address in cluster_ips:
        yield "cluster-ips", address.packed
    for each in wanted:
        for endpoint in each.endpoints.all:
            # A pod can reach itself only on its own node; one whose node is not known may be here.
            if endpoint.local or not endpoint.node:
                data = endpoint_data(endpoint)
                if data:
                    yield "hairpin", data[:-4] * 2


def facts_ranges(family: Family, pods: Iterable[Network], service_cidrs: Iterable[Network]) -> dict[str, list[Range]]:
    """The contents of the two sets that describe the node, not a Service."""
    version = 4 if family is IPV4 else 6
    return {
        name: [
            (each.network_address.packed, each.broadcast_address.packed) for each in networks if each.version == version
        ]
        for name, networks in (("local-pods", pods), ("service-cidrs", service_cidrs))
    }


def write_removal(transaction: Transaction, chains: Iterable[str]) -> None:
    """Delete chains that nothing else leads to any more."""
    listed = list(chains)
    for name in listed:
        transaction.flush_chain(name)
    for name in listed:
        transaction.delete_chain(name)
