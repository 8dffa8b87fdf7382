"""Which Service gets which load-balancer address.

Pure. The allocator remembers who holds what; it is asked about some Services and answers with what their status should
say. Level-triggered: the answer follows from the whole Service and what is held, never from what has changed in it.

* A Service keeps what it has (in memory, or in its status after a restart) as long as that fits what it asks for; if it
  asks for something it cannot get, it keeps what it has and gets a Problem.
* Among Services that must be given something, those asking for a certain address come first, then older before newer,
  then by name: a fresh start on the same objects gives the same addresses.
* An address given back goes to the Services that wait for one, in the same order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lb.balancer.pools import Address, Pool, Range, parse_address, pool_of
from lb.balancer.wish import CLASS, Refusal, Sharing, Wish, is_ours, order_of, wish_of
from lb.cluster.objects import Key, Service
from lb.cluster.problems import Problem


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a Service's status should say. `addresses` is None for a Service whose status is not ours to write."""

    addresses: tuple[str, ...] | None
    problems: tuple[Problem, ...] = ()


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Allocator:
    """Who holds which address of the pools."""

    def __init__(self, pools: Sequence[Pool], class_name: str = CLASS) -> None:
        self.pools = tuple(pools)
        self._reserved: frozenset[Address] = frozenset()
        self._class_name = class_name
        self._claims: dict[Address, dict[Key, Sharing]] = {}
        self._held: dict[Key, tuple[Address, ...]] = {}
        self._by_sharing: dict[str, dict[Address, None]] = {}
        self._waiting: dict[Key, Service] = {}
        self._lowest_free: dict[Range, int] = {each: int(each.first) for pool in pools for each in pool.ranges}
        self._freed = False
        """Something has become possible that was not: those who wait are asked again."""

    def reserve(self, addresses: Iterable[Address]) -> None:
        """Never give these out although they are in a pool: the nodes' own addresses."""
        now = frozenset(addresses)
        for address in self._reserved - now:
            self._lower(address)
            self._freed = True
        self._reserved = now

    def settle(self, services: Mapping[Key, Service | None]) -> dict[Key, Outcome]:
        """Bring these Services (None: it is gone) in line; the outcome of each, and of others it made possible."""
        outcomes: dict[Key, Outcome] = {}
        ours: dict[Key, Service] = {}
        for key, service in services.items():
            if service is not None and is_ours(service, self._class_name):
                ours[key] = service
            else:
                self._hold(key, (), None)
                self._waiting.pop(key, None)
                outcomes[key] = self._given_up(service)
        for service in sorted(ours.values(), key=order_of):
            self._adopt(service)
        turn = {**self._waiting, **ours} if self._freed else ours
        while turn:
            self._freed = False
            for service in sorted(turn.values(), key=self._turn):
                outcomes[service.key] = self._place(service)
            turn = dict(self._waiting) if self._freed else {}
        return outcomes

    def holders(self) -> dict[Key, tuple[str, ...]]:
        return {key: tuple(map(str, addresses)) for key, addresses in self._held.items()}

    def usage(self) -> dict[str, int]:
        """Addresses in use by pool."""
        used = dict.fromkeys((pool.name for pool in self.pools), 0)
        for address in self._claims:
            pool = pool_of(address, self.pools)
            if pool is not None:
                used[pool.name] += 1
        return used

    # -- one Service

    def _given_up(self, service: Service | None) -> Outcome:
        """A Service that is not ours. Once ours, now of another type: our addresses leave its status."""
        if service is None or service.spec.type == "LoadBalancer":
            return Outcome(None)
        return Outcome(() if self._in_status(service) else None)

    def _adopt(self, service: Service) -> None:
        """Before anybody is given anything new, those that have an address by their status hold it."""
        if service.key in self._held:
            return
        sharing = wish_of(service).sharing
        found = tuple(each for each in self._in_status(service) if self._is_free(each, service.key, sharing))
        self._hold(service.key, found, sharing)

    def _turn(self, service: Service) -> tuple[int, tuple[bool, str, str, str]]:
        rank = 0 if service.key in self._held else 1 if wish_of(service).requested else 2
        return rank, order_of(service)

    def _place(self, service: Service) -> Outcome:
        wish = wish_of(service)
        key = service.key
        usable = tuple(each for each in self._held.get(key, ()) if self._is_free(each, key, wish.sharing))
        refusal = wish.refusal
        addresses = tuple(each for each in usable if not wish.families or each.version in wish.families)
        if refusal is None:
            try:
                addresses = self._choose(wish, usable)
            except _Refused as error:
                refusal = error.refusal
        self._hold(key, addresses, wish.sharing)
        texts = tuple(map(str, addresses))
        if refusal is None:
            self._waiting.pop(key, None)
            return Outcome(texts)
        self._waiting[key] = service
        stays = f"; it keeps {', '.join(texts)}" if texts else ""
        return Outcome(texts, (Problem(str(key), refusal.field, refusal.reason + stays, refusal.advice),))

    # -- choosing

    def _choose(self, wish: Wish, current: tuple[Address, ...]) -> tuple[Address, ...]:
        """One address per family, all from one pool. Raises _Refused."""
        requested: dict[int, Address] = {each.version: self._check_request(wish, each) for each in wish.requested}
        kept: dict[int, Address] = {each.version: each for each in current}
        pools = self._pools_for(wish, [*requested.values(), *current])
        second_best: tuple[Address, ...] = ()
        for pool in pools:
            families = self._families_for(wish, pool)
            picked = []
            for family in families:
                address = requested.get(family) or self._pick(wish, pool, family, kept.get(family))
                if address is not None:
                    picked.append(address)
            if families and len(picked) == len(families):
                return tuple(picked)
            if wish.may_lack and not second_best:
                second_best = tuple(picked)
            if second_best and any(each in pool for each in current):
                break  # a second family is no reason to leave the address clients know
        if second_best:
            return second_best
        raise _Refused(self._exhausted(wish, pools))

    def _pools_for(self, wish: Wish, bound_to: Sequence[Address]) -> list[Pool]:
        if wish.pool:
            named = [pool for pool in self.pools if pool.name == wish.pool]
            if not named:
                known = ", ".join(pool.name for pool in self.pools)
                raise _Refused(Refusal(wish.pool_field, f"there is no pool {wish.pool!r}", f"pools: {known}"))
            outside = next((each for each in wish.requested if each not in named[0]), None)
            if outside is not None:
                reason = f"{outside} is not in pool {wish.pool!r}"
                raise _Refused(Refusal(wish.requested_field, reason, f"see {wish.pool_field}"))
            return named
        first = [pool for pool in self.pools if any(each in pool for each in bound_to)]
        if wish.requested:
            return [pool for pool in first if wish.requested[0] in pool]
        return first + [pool for pool in self.pools if pool not in first]

    def _families_for(self, wish: Wish, pool: Pool) -> tuple[int, ...]:
        if wish.families:
            return wish.families
        if wish.requested:
            return tuple(each.version for each in wish.requested)
        return (4,) if pool.of_family(4) else (6,)

    def _check_request(self, wish: Wish, address: Address) -> Address:
        pool = pool_of(address, self.pools)
        if pool is None:
            known = "; ".join(f"{pool.name}={','.join(map(str, pool.ranges))}" for pool in self.pools)
            raise _Refused(Refusal(wish.requested_field, f"{address} is in no pool", f"ask for one of {known}"))
        if address in self._reserved:
            raise _Refused(Refusal(wish.requested_field, f"{address} is the address of a node", "ask for another"))
        if not self._is_free(address, wish.key, wish.sharing):
            others = ", ".join(str(key) for key in self._claims[address] if key != wish.key)
            advice = f"ask for another, or share it: the same {_SHARING_NAME} on both, other ports, equal policy"
            raise _Refused(Refusal(wish.requested_field, f"{address} is held by {others}", advice))
        return address

    def _pick(self, wish: Wish, pool: Pool, family: int, kept: Address | None) -> Address | None:
        if kept is not None and kept in pool:
            return kept
        for address in self._by_sharing.get(wish.sharing.key, ()):
            if address.version == family and address in pool and self._is_free(address, wish.key, wish.sharing):
                return address
        for each in pool.of_family(family):
            free = self._next_free(each)
            if free is not None:
                return free
        return None

    def _next_free(self, within: Range) -> Address | None:
        """The lowest free address. Below `_lowest_free` everything is taken, so a full pool costs nothing to ask."""
        kind = type(within.first)
        number, last = self._lowest_free[within], int(within.last)
        while number <= last and (kind(number) in self._claims or kind(number) in self._reserved):
            number += 1
        self._lowest_free[within] = number
        return kind(number) if number <= last else None

    def _is_free(self, address: Address, key: Key, sharing: Sharing) -> bool:
        claims = self._claims.get(address, {})
        return all(other == key or sharing.allows(theirs) for other, theirs in claims.items())

    def _exhausted(self, wish: Wish, pools: Iterable[Pool]) -> Refusal:
        families = " and ".join(f"IPv{each}" for each in wish.families) or "IP"
        names = ", ".join(repr(pool.name) for pool in pools)
        reason = f"no free {families} address in pool {names}"
        return Refusal(wish.pool_field or "spec.type", reason, "add a --pool to causeway balancer, or delete a Service")

    # -- book-keeping

    def _in_status(self, service: Service) -> tuple[Address, ...]:
        """The addresses of our pools that its status has."""
        found = (parse_address(each.ip) for each in service.status.load_balancer.ingress)
        return tuple(dict.fromkeys(each for each in found if each is not None and pool_of(each, self.pools)))

    def _hold(self, key: Key, addresses: tuple[Address, ...], sharing: Sharing | None) -> None:
        before = self._held.pop(key, ())
        for address in before:
            claims = self._claims[address]
            former = claims.pop(key)
            self._freed = self._freed or former != sharing
            if not any(each.key == former.key for each in claims.values()):
                shared = self._by_sharing.get(former.key, {})
                shared.pop(address, None)
                if not shared:
                    self._by_sharing.pop(former.key, None)
            if not claims:
                del self._claims[address]
            if address not in addresses:
                self._freed = True
                self._lower(address)
        if addresses and sharing is not None:
            self._held[key] = addresses
            for address in addresses:
                self._claims.setdefault(address, {})[key] = sharing
                if sharing.key:
                    self._by_sharing.setdefault(sharing.key, {})[address] = None

    def _lower(self, address: Address) -> None:
        for each, lowest in self._lowest_free.items():
            if address in each:
                self._lowest_free[each] = min(lowest, int(address))


_SHARING_NAME = "annotation causeway.dev/allow-shared-ip"
