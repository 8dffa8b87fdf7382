"""The tunnel to nodes that share no network with this one: one VXLAN device, and two entries and a route per node.

As flannel does it: nothing is learnt and nothing flooded. A remote node's pods are behind an address inside the tunnel
(the first of its pod network); a permanent neighbour entry gives that address the node's MAC, a forwarding entry sends
that MAC to the node. The MAC follows from the node's name, so nobody has to publish it. Blocking; run it on a thread.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from lb.ipam import IPAddress
from lb.network.attach import FAMILY, IFA_F_NODAD, NUD_PERMANENT
from lb.network.netlink import IPRoute, index_of
from lb.network.routes import TUNNEL, Peer, Uplink, tunnel_mac

VXLAN_ID = 73
PORT = 4789  # RFC 7348, section 5
NTF_SELF = 0x02


def sync(netlink: IPRoute, node: str, uplink: Uplink, sources: Mapping[int, IPAddress], peers: Iterable[Peer]) -> None:
    """Make the tunnel lead to exactly these nodes; without any there is none. `sources`: our addresses inside."""
    wanted = list(peers)
    index = index_of(netlink, TUNNEL)
    if index is not None and (not wanted or not _as_wanted(netlink.get_links(index)[0], node, uplink)):
        netlink.link("del", index=index)
        index = None
    if not wanted:
        return
    if index is None:
        index = _make(netlink, node, uplink)
    netlink.link("set", index=index, state="up", mtu=uplink.tunnel_mtu)
    for version, address in sources.items():
        extra = {"flags": IFA_F_NODAD} if version == 6 else {}
        prefix_bits = address.max_prefixlen
        netlink.addr(
            "replace", index=index, address=str(address), prefixlen=prefix_bits, family=FAMILY[version], **extra
        )
    _change(netlink, index, _present(netlink, index), _entries(wanted))


def change(netlink: IPRoute, before: Iterable[Peer], after: Iterable[Peer]) -> None:
    """Replace what some nodes had in the tunnel by what they have now. The tunnel is there."""
    index = index_of(netlink, TUNNEL)
    if index is not None:
        _change(netlink, index, _entries(before), _entries(after))


def remove(netlink: IPRoute) -> bool:
    index = index_of(netlink, TUNNEL)
    if index is not None:
        netlink.link("del", index=index)
    return index is not None


Entries = tuple[dict[str, str], dict[str, str]]
"""(MAC -> node's address, address inside -> MAC)"""


def _entries(peers: Iterable[Peer]) -> Entries:
    forwarding: dict[str, str] = {}
    neighbours: dict[str, str] = {}
    for each in peers:
        forwarding[each.mac] = str(each.outer)
        neighbours |= {str(gateway): each.mac for gateway in each.gateways}
    return forwarding, neighbours


def _present(netlink: IPRoute, index: int) -> Entries:
    forwarding = {
        each.get_attr("NDA_LLADDR"): each.get_attr("NDA_DST")
        for each in netlink.fdb("dump", ifindex=index)
        if each["ifindex"] == index and each.get_attr("NDA_DST")
    }
    neighbours = {
        each.get_attr("NDA_DST"): each.get_attr("NDA_LLADDR")
        for each in netlink.get_neighbours(ifindex=index)
        if each["state"] & NUD_PERMANENT
    }
    return forwarding, neighbours


def _change(netlink: IPRoute, index: int, present: Entries, wanted: Entries) -> None:
    for mac, outer in wanted[0].items():
        if present[0].get(mac) != outer:
            netlink.fdb("replace", ifindex=index, lladdr=mac, dst=outer, state=NUD_PERMANENT, flags=NTF_SELF)
    for gateway, mac in wanted[1].items():
        if present[1].get(gateway) != mac:
            family = FAMILY[ipaddress.ip_address(gateway).version]
            netlink.neigh("replace", dst=gateway, lladdr=mac, ifindex=index, state=NUD_PERMANENT, family=family)
    for gateway in present[1].keys() - wanted[1].keys():
        netlink.neigh("del", dst=gateway, ifindex=index, family=FAMILY[ipaddress.ip_address(gateway).version])
    for mac in present[0].keys() - wanted[0].keys():
        netlink.fdb("del", ifindex=index, lladdr=mac, dst=present[0][mac], flags=NTF_SELF)


def _make(netlink: IPRoute, node: str, uplink: Uplink) -> int:
    outer = uplink.outer
    assert outer is not None  # without it no node is a peer
    local = {"vxlan_local" if outer.version == 4 else "vxlan_local6": str(outer)}
    netlink.link(
        "add",
        ifname=TUNNEL,
        kind="vxlan",
        address=tunnel_mac(node),
        vxlan_id=VXLAN_ID,
        vxlan_port=PORT,
        vxlan_learning=False,
        vxlan_link=index_of(netlink, uplink.interface),
        **local,
    )
    index = index_of(netlink, TUNNEL)
    assert index is not None
    return index


def _as_wanted(link: Any, node: str, uplink: Uplink) -> bool:
    data = link.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    local = data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6")
    return bool(link.get_attr("IFLA_ADDRESS") == tunnel_mac(node) and local == str(uplink.outer))
