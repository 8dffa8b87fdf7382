from causeway.demo.layout import Layout
from causeway.demo.topology import NodePlace, add_namespaces, holder, links

NODES = (NodePlace("node1", "192.0.2.11", "10.244.1.0/24"), NodePlace("node2", "192.0.2.12", "10.244.2.0/24"))


def test_every_cable_lies_between_two_namespaces() -> None:
    layout = Layout("t1")
    for batch in links(layout, NODES):
        assert batch.netns is not None
        for line in batch.lines:
            if "type veth" in line:
                assert " netns t1-" in line


def test_all_namespaces_carry_the_name() -> None:
    layout = Layout("t1")
    lines = add_namespaces([layout.netns("router"), layout.pod_netns("shop", "web-1")]).lines
    assert lines == ("netns add t1-router", "netns add t1-shop-web-1")


def test_the_router_knows_no_pods() -> None:
    router = links(Layout("t1"), NODES)[0]
    assert not any("10.244." in line or "10.96." in line for line in router.lines)


def test_holder() -> None:
    macs = {"aa": "node1", "bb": "node2"}
    neighbours = [("192.0.2.11", "aa"), ("192.0.2.100", "bb"), ("192.0.2.101", "cc")]
    assert holder(neighbours, macs, "192.0.2.100") == "node2"
    assert holder(neighbours, macs, "192.0.2.101") == ""
    assert holder(neighbours, macs, "192.0.2.102") == ""
