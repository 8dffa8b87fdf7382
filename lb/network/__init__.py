"""The pod network of one node: attaching pods, routes to the other nodes' pods, masquerade to the outside.

Where to look:

    node.py           keeps one node's network equal to the store
    pod.py            how a pod is attached: names, addresses, routes                     pure
    attach.py         doing it: veth pairs, addresses, the node's end
    bridge.py         the Linux bridge of bridge mode
    routes.py         which routes lead to the other nodes' pods                          pure
    kernel_routes.py  putting them
    vxlan.py          the tunnel to nodes that share no network with this one
    rules.py          the nftables text: masquerade to the outside, host ports            pure
    nft.py            loading it
    uplink.py         how this node is connected
    watch.py          notices that the uplink has changed
    netlink.py        rtnetlink in any namespace, on threads
    sysctl.py         kernel settings of the node's own namespace
"""

ROUTE_PROTOCOL = 73
"""Marks our routes in the kernel (rtm_protocol), so that those of an earlier agent are known as ours. Not in use by
any of the daemons listed in iproute2's rt_protos."""

MAIN_TABLE = 254
