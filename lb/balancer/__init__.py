"""Load-balancer addresses: who gets which, and which node answers for it.

Where to look:

    pools.py      --pool flags -> ranges of addresses                               pure
    wish.py       what a Service asks for: families, pool, addresses, sharing       pure
    allocate.py   Services -> addresses, from the pools                             pure
    assign.py     the reconcile loop of `causeway balancer`: store -> status
    lease.py      one balancer at a time, when there is an API server
    elect.py      which node announces an address, and why not the others           pure
    liveness.py   which nodes are alive, from the heartbeats heard                  pure
    heartbeat.py  the heartbeats on the wire: UDP between the nodes' InternalIPs
    arp.py        ARP frames (IPv4)                                                 pure
    ndp.py        neighbour discovery frames (IPv6)                                 pure
    uplinks.py    on which of the node's interfaces to answer
    responder.py  answers ARP and NDP for the addresses this node announces
    announce.py   all of the announcing half on one node: `Announcer`, run by the node agent

The first half runs once per cluster and only writes status; the second runs on every node and only reads it.
"""
