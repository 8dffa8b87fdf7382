"""Services in the kernel: ClusterIP, NodePort, LoadBalancer and external addresses as nf_tables elements.

Where to look:

    vips.py       Service + endpoints (+ this node) -> at which addresses it answers, and how      pure
    classes.py    what all VIPs with the same counts and policy share; what becomes of a packet    pure
    layout.py     the tables, sets, base chains, and the chains of a class, as messages            pure
    elements.py   a VIP and its endpoints as keys and data                                        pure
    plan.py       wanted and present -> operations, Service by Service                             pure
    explain.py    which Service answers at an address, how it decides, which elements it became    pure
    dataplane.py  the shell: store -> plan -> one transaction; full resync after a failure
    conntrack.py  UDP flows whose endpoint has gone
    health.py     the HTTP server on a Service's healthCheckNodePort
"""
