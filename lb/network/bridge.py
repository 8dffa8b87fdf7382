"""The Linux bridge of bridge mode. Blocking; run it on a thread."""

import errno
import hashlib
from collections.abc import Sequence

from lb.ipam import Pool
from lb.network import sysctl
from lb.network.attach import FAMILY, IFA_F_NODAD
from lb.network.netlink import IPRoute, NetlinkError, index_of
from lb.network.pod import BRIDGE, mac


def ensure_bridge(netlink: IPRoute, node: str, pools: Sequence[Pool], mtu: int) -> None:
    """Make `causeway0` be there, up, with the first address of each pod network."""
    index = index_of(netlink, BRIDGE)
    if index is None:
        # A MAC of its own: a bridge without one takes that of a port, and changes it as ports come and go.
        address = mac(hashlib.sha256(f"{BRIDGE} of {node}".encode()).digest()[:5])
        netlink.link("add", ifname=BRIDGE, kind="bridge", address=address, mtu=mtu)
        index = index_of(netlink, BRIDGE)
    if sysctl.has_ipv6():
        sysctl.ensure(f"ipv6/conf/{BRIDGE}/accept_ra", "0")
        sysctl.ensure(f"ipv6/conf/{BRIDGE}/accept_dad", "0")
    # A pod on the bridge looks for the routed pods of an earlier mode on its own network: the node answers for them.
    sysctl.ensure(f"ipv4/conf/{BRIDGE}/proxy_arp", "1")
    # Else the answer of a Service's endpoint on the same bridge passes by the connection tracking that must rewrite it.
    for name in ("iptables", "ip6tables"):
        if sysctl.read(f"bridge/bridge-nf-call-{name}"):
            sysctl.ensure(f"bridge/bridge-nf-call-{name}", "1")
    netlink.link("set", index=index, state="up", mtu=mtu)
    for pool in pools:
        extra = {"flags": IFA_F_NODAD} if pool.network.version == 6 else {}
        try:
            netlink.addr(
                "add", index=index, address=str(pool.gateway), prefixlen=pool.network.prefixlen,
                family=FAMILY[pool.network.version], **extra,
            )  # fmt: skip
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise


def remove_unused_bridge(netlink: IPRoute) -> bool:
    """In routed mode: remove the bridge of an earlier mode once no pod is on it. Return whether it is (still) there."""
    index = index_of(netlink, BRIDGE)
    if index is None:
        return False
    if any(each.get_attr("IFLA_MASTER") == index for each in netlink.get_links()):
        return True
    netlink.link("del", index=index)
    return False
