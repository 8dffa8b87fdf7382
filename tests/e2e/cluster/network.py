"""The cluster's wires: a bridge in its own namespace, and a namespace per machine plugged into it."""

from __future__ import annotations

from pathlib import Path

from . import layout
from .processes import in_netns, run


def build(nodes: list[layout.Node]) -> None:
    """Makes the bridge and the namespaces of client, control plane and nodes."""
    run(["ip", "netns", "add", layout.LAN])
    _ip(layout.LAN, "link set lo up")
    _ip(layout.LAN, "link add br0 type bridge forward_delay 0")
    _ip(layout.LAN, "link set br0 up")
    _ip(layout.LAN, f"addr add {layout.LAN_ADDRESS}/24 dev br0")
    _plug_in(layout.CLIENT, layout.CLIENT_ADDRESS)
    _plug_in(layout.CONTROL, layout.CONTROL_ADDRESS)
    for node in nodes:
        _plug_in(node.netns, node.address)
        run(in_netns(node.netns, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))


def set_cable(netns: str, *, plugged: bool) -> None:
    """Pulls or plugs a machine's cable: the switch's end of it goes down or up."""
    _ip(layout.LAN, f"link set {_port(netns)} {'up' if plugged else 'down'}")


def exists(netns: str) -> bool:
    return Path("/run/netns", netns).exists()


def _plug_in(netns: str, address: str) -> None:
    run(["ip", "netns", "add", netns])
    _ip(netns, f"link add eth0 type veth peer name {_port(netns)} netns {layout.LAN}")
    _ip(layout.LAN, f"link set {_port(netns)} master br0 up")
    for command in ("link set lo up", "link set eth0 up", f"addr add {address}/24 dev eth0"):
        _ip(netns, command)
    _ip(netns, f"route add default via {layout.LAN_ADDRESS}")


def _port(netns: str) -> str:
    return netns.removeprefix(layout.PREFIX)


def _ip(netns: str, command: str) -> None:
    run(["ip", "-n", netns, *command.split()])
