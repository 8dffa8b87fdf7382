"""Which address a pod gets: one of each family from the node's pod networks. Pure; who has what is kept by the caller.

Round robin from the last address handed out, so that an address which has just become free is the last to be used
again: connections and caches that still mean its former owner have the longest time to end.
"""

import ipaddress
from collections.abc import Container, Sequence
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class PoolExhausted(Exception):
    """Every address of a pod network is in use."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The usable addresses of one pod network, first to last."""

    network: IPNetwork

    @property
    def gateway(self) -> IPAddress:
        """The network's first address: the node's in bridge mode, kept free in both modes so they can be swapped."""
        return self.network[1]

    @property
    def first(self) -> int:
        return int(self.network.network_address) + 2

    @property
    def last(self) -> int:
        # IPv6 has no broadcast address.
        return int(self.network.broadcast_address) - (1 if self.network.version == 4 else 0)

    @property
    def size(self) -> int:
        return max(0, self.last - self.first + 1)

    def next_free(self, in_use: Container[IPAddress], last: IPAddress | None) -> IPAddress:
        """The first free address after `last`, wrapping round. Raises PoolExhausted."""
        kind = type(self.network.network_address)
        start = int(last) + 1 if last is not None and last in self.network else self.first
        if not self.first <= start <= self.last:
            start = self.first
        # At most one step more than there are addresses in use: a /64 is never walked to its end.
        for step in range(self.size):
            number = start + step
            address = kind(number if number <= self.last else number - self.size)
            if address not in in_use:
                return address
        raise PoolExhausted(f"no free address in {self.network} ({self.size} usable, all in use)")


def allocate(
    pools: Sequence[Pool], in_use: Container[IPAddress], last: Sequence[IPAddress] = ()
) -> tuple[IPAddress, ...]:
    """One address from each pool; `last`: what was handed out before, in any order. Raises PoolExhausted."""
    return tuple(pool.next_free(in_use, next((each for each in last if each in pool.network), None)) for pool in pools)


def pools_of(pod_cidrs: Sequence[str]) -> tuple[Pool, ...]:
    """The first network of each family, IPv4 and IPv6 in the Node's own order. Raises ValueError naming a bad one."""
    found: dict[int, Pool] = {}
    for text in pod_cidrs:
        try:
            network = ipaddress.ip_network(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a network: {error}") from None
        pool = Pool(network)
        if pool.size < 1:
            raise ValueError(f"{text} is too small: it has no address for a pod besides network, gateway and broadcast")
        found.setdefault(network.version, pool)
    return tuple(found.values())
