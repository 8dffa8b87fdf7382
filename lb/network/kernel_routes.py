"""Routes of the main table that carry our mark (lb.network.ROUTE_PROTOCOL): reading, putting, removing them.

Blocking; run it on a thread.
"""

import errno
import ipaddress
from collections.abc import Iterable

from lb.ipam import IPAddress
from lb.network import MAIN_TABLE, ROUTE_PROTOCOL
from lb.network.attach import FAMILY, scope_of
from lb.network.netlink import IPRoute, NetlinkError, index_of
from lb.network.routes import TUNNEL, Route

UNREACHABLE = 7  # RTN_UNREACHABLE, linux/rtnetlink.h
RTNH_F_ONLINK = 4  # the gateway is on the link, whatever our addresses say
_EVERYTHING = {4: "0.0.0.0", 6: "::"}
_GONE = {errno.ESRCH, errno.ENOENT, errno.ENODEV}


def present(netlink: IPRoute, versions: Iterable[int]) -> list[Route]:
    """Our routes, as the kernel has them."""
    names = {each["index"]: each.get_attr("IFLA_IFNAME") for each in netlink.get_links()}
    found = []
    for version in versions:
        for each in netlink.route("dump", family=FAMILY[version], table=MAIN_TABLE):
            if each["proto"] != ROUTE_PROTOCOL:
                continue
            destination = ipaddress.ip_network(f"{each.get_attr('RTA_DST') or _EVERYTHING[version]}/{each['dst_len']}")
            if each["type"] == UNREACHABLE:
                found.append(Route(destination))
                continue
            gateway = each.get_attr("RTA_GATEWAY")
            name = names.get(each.get_attr("RTA_OIF"), "")
            source = each.get_attr("RTA_PREFSRC")
            found.append(Route(destination, _address(gateway), name, _address(source)))
    return found


def _address(text: str | None) -> IPAddress | None:
    return ipaddress.ip_address(text) if text else None


def change(netlink: IPRoute, remove: Iterable[Route], put: Iterable[Route]) -> dict[Route, str]:
    """Remove and put routes; those the kernel refused, and why. One that is refused does not keep the others out."""
    refused: dict[Route, str] = {}
    indexes: dict[str, int | None] = {}
    for verb, routes in (("del", remove), ("replace", put)):
        for route in routes:
            version = route.destination.version
            said: dict[str, object] = {
                "dst": str(route.destination),
                "family": FAMILY[version],
                "proto": ROUTE_PROTOCOL,
            }
            if not route.interface:
                said["type"] = "unreachable"
            else:
                if route.interface not in indexes:
                    indexes[route.interface] = index_of(netlink, route.interface)
                if indexes[route.interface] is None:
                    # A pod that is just coming or going; the kernel has removed the routes with the link.
                    continue
                said["oif"] = indexes[route.interface]
                said |= {"gateway": str(route.gateway)} if route.gateway else scope_of(version)
                if route.interface == TUNNEL:
                    said["flags"] = RTNH_F_ONLINK
                if route.source:
                    said["prefsrc"] = str(route.source)
            try:
                netlink.route(verb, **said)
            except NetlinkError as error:
                if verb == "del" and error.code in _GONE:
                    continue
                if error.code == errno.ENETDOWN and route.interface and route.gateway is None:
                    continue  # a pod that is just coming: its interface comes up, and its routes, in this order
                refused[route] = f"{verb} refused: {error}"
    return refused
