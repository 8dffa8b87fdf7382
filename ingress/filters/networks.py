"""Is an address in one of many networks? The cost is that of one look-up for each length of prefix in use."""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Networks:
    """Addresses and CIDRs of both families."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        """Raises ValueError for what is neither."""
        self._sets: dict[tuple[int, int], set[int]] = {}
        """(version, bits behind the prefix) -> prefixes."""
        for each in cidrs:
            network = ipaddress.ip_network(each, strict=False)
            behind = network.max_prefixlen - network.prefixlen
            self._sets.setdefault((network.version, behind), set()).add(int(network.network_address) >> behind)

    def __bool__(self) -> bool:
        return bool(self._sets)

    def __contains__(self, address: Address) -> bool:
        version, number = address.version, int(address)
        return any(
            family == version and number >> behind in prefixes for (family, behind), prefixes in self._sets.items()
        )


def read_address(text: str) -> Address | None:
    """None for what is no address. IPv4 within IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
