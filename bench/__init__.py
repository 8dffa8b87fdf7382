"""The load benchmarking harness: drives any proxy from outside, and imports none of it.

Where to look:

    load/    the load generator
    peers/   other proxies beside ours: the same work, measured in turn
"""
