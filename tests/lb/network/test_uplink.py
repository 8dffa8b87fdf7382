"""Finding out how a node is connected."""

from collections.abc import Callable

import pytest

from lb.network.netlink import in_namespace
from lb.network.routes import Uplink
from lb.network.uplink import NoUplink, find_uplink
from tests.conftest import NetNs

pytestmark = pytest.mark.netns


@pytest.fixture
def node(netns: Callable[..., NetNs]) -> NetNs:
    ns = netns()
    for name, mtu, addresses in (
        ("eth0", "1500", ["192.168.1.1/24", "fd77::1/64"]),
        ("eth1", "9000", ["10.0.0.1/8"]),
        ("causeway0", "1500", ["10.244.1.1/24"]),
        ("cw0123456789ab", "1500", []),
    ):
        ns.run("ip", "link", "add", name, "mtu", mtu, "type", "bridge")
        ns.run("ip", "link", "set", name, "up")
        for each in addresses:
            ns.run("ip", "addr", "add", each, "dev", name)
    return ns


def found(node: NetNs, *internal: str, name: str = "") -> Uplink:
    return in_namespace(str(node.path), lambda netlink: find_uplink(netlink, internal, name))


def test_by_internal_ip(node: NetNs) -> None:
    uplink = found(node, "fd77::1", "192.168.1.1")
    assert (uplink.interface, uplink.mtu, str(uplink.outer)) == ("eth0", 1500, "192.168.1.1")
    assert {each.interface for each in uplink.networks} == {"eth0", "eth1"}


def test_by_name(node: NetNs) -> None:
    uplink = found(node, "192.168.1.1", name="eth1")
    assert (uplink.interface, uplink.mtu, str(uplink.outer)) == ("eth1", 9000, "192.168.1.1")


def test_none(node: NetNs) -> None:
    with pytest.raises(NoUplink, match=r"no interface has 192\.168\.1\.9 .*addresses: 10\.0\.0\.1.*--uplink"):
        found(node, "192.168.1.9")
    with pytest.raises(NoUplink, match="there is no interface eth7"):
        found(node, "192.168.1.1", name="eth7")
