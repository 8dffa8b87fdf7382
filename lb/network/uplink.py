"""Finding out how this node is connected: its own addresses, the interface towards the other nodes, its MTU.

Blocking; run it on a thread.
"""

import ipaddress
from collections.abc import Sequence

from lb.network.netlink import IPRoute
from lb.network.pod import BRIDGE, HOST_INTERFACE_PREFIX
from lb.network.routes import TUNNEL, LocalAddress, Uplink


class NoUplink(Exception):
    """No interface of this node leads to the others."""


def find_uplink(netlink: IPRoute, internal_ips: Sequence[str], name: str = "") -> Uplink:
    """The interface called `name`, else the one with an InternalIP of this Node. Raises NoUplink."""
    links = {each["index"]: each for each in netlink.get_links()}
    addresses = []
    for each in netlink.get_addr():
        link = links.get(each["index"])
        interface = link.get_attr("IFLA_IFNAME") if link else ""
        if not interface or interface in ("lo", BRIDGE, TUNNEL) or interface.startswith(HOST_INTERFACE_PREFIX):
            continue
        text = each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
        addresses.append(LocalAddress(ipaddress.ip_interface(f"{text}/{each['prefixlen']}"), interface))
    if not name:
        wanted = {ipaddress.ip_address(each) for each in internal_ips}
        name = next((each.interface for each in addresses if each.address.ip in wanted), "")
    found = next((each for each in links.values() if each.get_attr("IFLA_IFNAME") == name), None) if name else None
    if found is None:
        have = ", ".join(sorted({str(each.address.ip) for each in addresses})) or "none"
        what = (
            f"there is no interface {name}" if name else f"no interface has {' or '.join(internal_ips) or 'an address'}"
        )
        raise NoUplink(
            f"{what} (this node's addresses: {have}); correct the Node's InternalIP or give --uplink INTERFACE"
        )
    ours = {each.address.ip for each in addresses}
    internal = [each for each in map(ipaddress.ip_address, internal_ips) if each in ours]
    # IPv4 first: its tunnel costs 20 bytes less of every packet.
    outer = min(internal, key=lambda each: each.version, default=None)
    return Uplink(name, int(found.get_attr("IFLA_MTU")), tuple(addresses), outer)
