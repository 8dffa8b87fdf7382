"""nf_tables by netlink: a small encoder of our own.

Where to look:

    attributes.py   type-length-value attributes, both ways                 pure
    expressions.py  what rules are made of: load, look up, compare, nat      pure
    messages.py     tables, sets, chains, rules, elements; one transaction   pure
    netfilter.py    the socket: commit a transaction, dump, errors           shell

Why not the `nft` program or libnftables: both read the list of all sets again for each change, and an `nft` that meets
sets declared by another version of itself can crash. Sets made here carry no userdata, so every version lists them.
"""
