"""Attaching a pod to its node, checking that it still is, and detaching it (lb/network/pod.py says what and why).

Everything here blocks for some milliseconds: run it on a thread. A failed `attach` leaves nothing behind.
"""

import errno
import os
from collections.abc import Callable
from typing import Any

from lb.network import MAIN_TABLE, ROUTE_PROTOCOL, sysctl
from lb.network.netlink import IPRoute, NetlinkError, in_namespace, index_of
from lb.network.pod import BRIDGE, DEFAULT_ROUTE, PodLink

FAMILY = {4: 2, 6: 10}
NUD_PERMANENT = 0x80
IFA_F_NODAD = 0x02
SCOPE_LINK = 253


class AlreadyAttached(Exception):
    """The container has an interface of this name."""


def attach(link: PodLink) -> None:
    """Make the veth pair. Raises AlreadyAttached, NoSuchNamespace, NetlinkError, SysctlRefused."""
    with IPRoute() as netlink:
        # No record means that nobody owns it any more: left by an agent whose run folder was deleted.
        detach_with(netlink, link.host_interface)
        _make_pair(netlink, link)
        try:
            in_namespace(link.netns, lambda pod: _configure_pod(pod, link))
            _configure_host(netlink, link)
        except BaseException:
            detach_with(netlink, link.host_interface)  # takes the pod's end and the routes with it
            raise


def detach(host_interface: str) -> bool:
    """Remove the node's end, and with it the pod's; return whether it was there."""
    with IPRoute() as netlink:
        return detach_with(netlink, host_interface)


def detach_with(netlink: IPRoute, host_interface: str) -> bool:
    index = index_of(netlink, host_interface)
    if index is None:
        return False
    try:
        netlink.link("del", index=index)
    except NetlinkError as error:
        if error.code not in (errno.ENODEV, errno.EINVAL):  # gone in between, with its namespace
            raise
    return True


def missing(link: PodLink) -> list[str]:
    """What is not as `attach` left it, in words; [] if all is well. Raises NoSuchNamespace."""
    with IPRoute() as netlink:
        wrong = _missing_on_host(netlink, link)
    return wrong + in_namespace(link.netns, lambda pod: _missing_in_pod(pod, link))


def _make_pair(netlink: IPRoute, link: PodLink) -> None:
    namespace = os.open(link.netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        netlink.link(
            "add",
            ifname=link.host_interface,
            kind="veth",
            address=link.host_mac,
            mtu=link.mtu,
            peer={"ifname": link.ifname, "address": link.pod_mac, "mtu": link.mtu, "net_ns_fd": namespace},
        )
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise AlreadyAttached(f"the container has an interface {link.ifname} already") from None
        raise
    finally:
        os.close(namespace)


def _configure_pod(pod: IPRoute, link: PodLink) -> None:
    loopback = pod.get_links(ifname="lo")[0]
    if not loopback["flags"] & 1:  # IFF_UP
        pod.link("set", index=loopback["index"], state="up")
    index = index_of(pod, link.ifname)
    if link.of_version(6):
        # Some runtimes switch IPv6 off in new namespaces; the address is nobody else's, so no second is spent asking.
        for name, value in (("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")):
            sysctl.ensure(f"ipv6/conf/{link.ifname}/{name}", value)
    pod.link("set", index=index, state="up")
    for each in link.addresses:
        extra: dict[str, Any] = {"flags": IFA_F_NODAD} if each.version == 6 else {}
        pod.addr("add", index=index, address=str(each.address), prefixlen=each.prefix_bits, **extra)
        gateway, family = str(each.gateway), FAMILY[each.version]
        if link.mode == "routed":
            # The node's end always has this MAC: no ARP, and no wait for the kernel's proxy_delay.
            pod.neigh("replace", dst=gateway, lladdr=link.host_mac, ifindex=index, state=NUD_PERMANENT, family=family)
            if each.version == 4:
                pod.route("add", dst=f"{gateway}/32", oif=index, scope=SCOPE_LINK)
        pod.route("add", dst=DEFAULT_ROUTE[each.version], gateway=gateway, oif=index, family=family)


def _configure_host(netlink: IPRoute, link: PodLink) -> None:
    index = index_of(netlink, link.host_interface)
    if sysctl.has_ipv6():
        # 1: no address from the MAC; ours is fe80::1, or none on a port of the bridge.
        sysctl.ensure(f"ipv6/conf/{link.host_interface}/addr_gen_mode", "1")
        sysctl.ensure(f"ipv6/conf/{link.host_interface}/accept_ra", "0")
    if link.mode == "bridge":
        netlink.link("set", index=index, master=index_of(netlink, BRIDGE))
        # Hairpin: a pod that reaches itself through its Service comes back out of the port it went in by.
        netlink.brport("set", index=index, mode=1)
        if link.host_ports:
            sysctl.ensure(f"ipv4/conf/{BRIDGE}/route_localnet", "1")
        netlink.link("set", index=index, state="up", ifalias=link.alias)
        return
    name = link.host_interface
    sysctl.ensure(f"ipv4/conf/{name}/proxy_arp", "1")
    sysctl.ensure(f"ipv4/neigh/{name}/proxy_delay", "0")
    # Strict: a pod cannot send with an address that is not its own.
    sysctl.ensure(f"ipv4/conf/{name}/rp_filter", "1")
    if link.host_ports:
        # Answers to 127.0.0.1, which asked by a host port, come in here (lb/network/rules.py guards what else would).
        sysctl.ensure(f"ipv4/conf/{name}/route_localnet", "1")
    netlink.link("set", index=index, state="up", ifalias=link.alias)
    for each in link.addresses:
        family = FAMILY[each.version]
        if each.version == 6:
            netlink.addr("add", index=index, address=str(each.gateway), prefixlen=64, flags=IFA_F_NODAD)
        netlink.neigh(
            "replace", dst=str(each.address), lladdr=link.pod_mac, ifindex=index, state=NUD_PERMANENT, family=family
        )
        netlink.route(
            "replace", dst=str(each), oif=index, proto=ROUTE_PROTOCOL, family=family, **scope_of(each.version)
        )


def scope_of(version: int) -> dict[str, int]:
    """The scope of a route without a gateway; IPv6 routes have none."""
    return {"scope": SCOPE_LINK} if version == 4 else {}


def _missing_on_host(netlink: IPRoute, link: PodLink) -> list[str]:
    found = netlink.get_links(ifname=link.host_interface) if index_of(netlink, link.host_interface) else []
    if not found:
        return [f"the node's interface {link.host_interface} is gone"]
    wrong = []
    index = found[0]["index"]
    if not found[0]["flags"] & 1:
        wrong.append(f"the node's interface {link.host_interface} is down")
    if link.mode == "bridge":
        if found[0].get_attr("IFLA_MASTER") != index_of(netlink, BRIDGE):
            wrong.append(f"{link.host_interface} is not a port of {BRIDGE}")
        return wrong
    return wrong + [
        f"the node has no route to {each} over {link.host_interface}"
        for each in link.addresses
        if not _has_route(netlink, each.version, str(each), lambda route: route.get_attr("RTA_OIF") == index)
    ]


def _missing_in_pod(pod: IPRoute, link: PodLink) -> list[str]:
    index = index_of(pod, link.ifname)
    if index is None:
        return [f"the container has no interface {link.ifname}"]
    found = pod.get_links(index)[0]
    wrong = []
    if not found["flags"] & 1:
        wrong.append(f"{link.ifname} is down")
    if found.get_attr("IFLA_ADDRESS") != link.pod_mac:
        wrong.append(f"{link.ifname} has MAC {found.get_attr('IFLA_ADDRESS')}, not {link.pod_mac}")
    present = {f"{each.get_attr('IFA_ADDRESS')}/{each['prefixlen']}" for each in pod.get_addr(index=index)}
    for each in link.addresses:
        if str(each) not in present:
            wrong.append(f"{link.ifname} has no address {each}")
        gateway = str(each.gateway)
        via = lambda route, gateway=gateway: route.get_attr("RTA_GATEWAY") == gateway  # noqa: E731
        if not _has_route(pod, each.version, DEFAULT_ROUTE[each.version], via):
            wrong.append(f"the container has no default route over {gateway}")
    return wrong


def _has_route(netlink: IPRoute, version: int, destination: str, accept: Callable[[Any], bool]) -> bool:
    address, _, bits = destination.partition("/")
    wanted = None if bits == "0" else address
    for route in netlink.route("dump", family=FAMILY[version], table=MAIN_TABLE):
        if route["dst_len"] == int(bits) and route.get_attr("RTA_DST") == wanted and accept(route):
            return True
    return False
