"""Packets: what carries a request from the internet to a pod below HTTP (L2-L4).

Where to look:

    cluster/      what we know of the cluster: objects, store, sources, status
    endpoints.py  Service + EndpointSlices (+ this node) -> who may answer          pure
    reconcile.py  the one loop: dirty keys -> plan -> apply
    network/      the pod network of a node
    cni/          the CNI protocol and the plugin executable
    ipam.py       address allocation
    service/      ClusterIP, NodePort, LoadBalancer in nftables
    balancer/     load-balancer addresses: pools, allocation, announcing them
    agent.py      the node agent: wires all of it on one node

lb/ imports nothing of ingress/, bench/ or causeway/; tests/test_layers.py keeps that true.
"""
