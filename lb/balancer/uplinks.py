"""On which of the node's interfaces load-balancer addresses are answered.

The interfaces that carry one of the node's InternalIPs, or those named by the operator. Never those of pods: they carry
no address of the node, and a pod must not learn an address of the outside from the wrong side.
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from pyroute2 import AsyncIPRoute

_ETHERNET = 1
_IFF_UP, _IFF_NOARP = 0x1, 0x80


@dataclass(frozen=True, slots=True)
class Uplink:
    index: int
    name: str
    mac: bytes
    link_local: IPv6Address | None
    """None: IPv6 is off on this interface."""


async def find_uplinks(node_ips: Collection[str], names: Collection[str] = ()) -> tuple[Uplink, ...]:
    """The uplinks that are up now, by index. `names`: exactly these instead of those with one of `node_ips`."""
    carrying: set[int] = set()
    link_local: dict[int, IPv6Address] = {}
    wanted = {ip_address(each) for each in node_ips}
    async with AsyncIPRoute() as netlink:
        async for each in await netlink.get_addr():
            address = ip_address(each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS"))
            if address in wanted:
                carrying.add(each["index"])
            if isinstance(address, IPv6Address) and address.is_link_local:
                link_local[each["index"]] = address
        found = []
        async for each in await netlink.get_links():
            index, name, flags = each["index"], each.get_attr("IFLA_IFNAME"), each["flags"]
            if name not in names if names else index not in carrying:
                continue
            if each["ifi_type"] == _ETHERNET and flags & _IFF_UP and not flags & _IFF_NOARP:
                mac = bytes.fromhex(each.get_attr("IFLA_ADDRESS").replace(":", ""))
                found.append(Uplink(index, name, mac, link_local.get(index)))
    return tuple(sorted(found, key=lambda each: each.index))
