"""How a pod is attached to its node: the plan, as values. Pure.

Routed (the default): a veth pair; the pod has its address as /32 (/128) and one default route over a link-local
next hop that stands for "the node, whoever it is"; the node has one route to the address over its end of the pair. No
address is spent on a gateway, nothing floods, and Services work with either value of bridge-nf-call-iptables.

Bridge: the node's end is a port of the Linux bridge `causeway0`, which has the pod network's first address.
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lb.ipam import IPAddress, Pool

Mode = Literal["routed", "bridge"]

BRIDGE = "causeway0"
HOST_INTERFACE_PREFIX = "cw"
ALIAS_MARK = "causeway"

LINK_LOCAL_GATEWAYS: dict[int, IPAddress] = {
    4: ipaddress.ip_address("169.254.1.1"),
    6: ipaddress.ip_address("fe80::1"),
}
"""The routed pod's next hop by IP version; the same in every pod of every node."""

DEFAULT_ROUTE = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class PodAddress:
    """One address of a pod: with the prefix length it gets in the pod, and the pod's next hop."""

    address: IPAddress
    prefix_bits: int
    gateway: IPAddress

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix_bits}"

    @property
    def version(self) -> int:
        return self.address.version


@dataclass(frozen=True, slots=True)
class PodLink:
    """One attachment: the two ends of a veth pair and what they carry.

    `alias` is written on the node's end, so that the kernel itself knows what the record of this attachment says.
    """

    mode: Mode
    netns: str
    ifname: str
    host_interface: str
    host_mac: str
    pod_mac: str
    mtu: int
    addresses: tuple[PodAddress, ...]
    alias: str
    host_ports: bool = False
    """Whether ports of the node lead to it."""

    def of_version(self, version: int) -> PodAddress | None:
        return next((each for each in self.addresses if each.version == version), None)


def plan_link(
    attached: tuple[str, str],
    netns: str,
    *,
    mode: Mode,
    addresses: Sequence[IPAddress],
    pools: Sequence[Pool],
    mtu: int,
    host_ports: bool = False,
) -> PodLink:
    """Plan the attachment of (container id, interface name) with these addresses, each from one of `pools`."""
    names = digest(attached)
    return PodLink(
        mode=mode,
        netns=netns,
        ifname=attached[1],
        host_interface=host_interface(attached),
        # Set by us, not drawn by the kernel: udev leaves such a MAC alone, and the pod has a fixed entry for it.
        host_mac=mac(names[8:13]),
        # Of the address: who still remembers its former owner's on the bridge remembers rightly.
        pod_mac=mac(hashlib.sha256(str(addresses[0]).encode()).digest()[:5]),
        mtu=mtu,
        addresses=tuple(_pod_address(each, mode, pools) for each in addresses),
        alias=alias(attached, addresses),
        host_ports=host_ports,
    )


def alias(attached: tuple[str, str], addresses: Sequence[IPAddress]) -> str:
    """What the node's end is labelled with; "" when it does not fit (IFALIASZ is 256)."""
    text = " ".join((ALIAS_MARK, *attached, ",".join(map(str, addresses))))
    return text if len(text) < 256 else ""


def parse_alias(text: str) -> tuple[tuple[str, str], tuple[IPAddress, ...]] | None:
    """((container id, interface name), addresses), or None if this is no label of ours."""
    words = text.split()
    if len(words) != 4 or words[0] != ALIAS_MARK:
        return None
    try:
        return (words[1], words[2]), tuple(ipaddress.ip_address(each) for each in words[3].split(","))
    except ValueError:
        return None


def host_interface(attached: tuple[str, str]) -> str:
    """The name of the node's end: the same for the same attachment, so DEL finds it when everything else is lost."""
    return HOST_INTERFACE_PREFIX + digest(attached).hex()[:12]


def digest(attached: tuple[str, str]) -> bytes:
    return hashlib.sha256("/".join(attached).encode()).digest()


def mac(five: bytes) -> str:
    """A locally administered unicast MAC address."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *five))


def _pod_address(address: IPAddress, mode: Mode, pools: Sequence[Pool]) -> PodAddress:
    pool = next((each for each in pools if address in each.network), None)
    if mode == "routed" or pool is None:
        return PodAddress(address, address.max_prefixlen, LINK_LOCAL_GATEWAYS[address.version])
    return PodAddress(address, pool.network.prefixlen, pool.gateway)
