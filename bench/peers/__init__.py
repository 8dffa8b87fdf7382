"""Other proxies beside ours: had from the distribution, given the same work, measured in turn in the same run.

Where to look:

    debian.py     programs of a newer Debian, unpacked beside this one and run by their own loader
    work.py       what is asked of every proxy: routes, requests, bodies                             pure
    configs.py    the same routes as each proxy's own configuration                                  pure
    process.py    a proxy running, pinned to a core; the CPU time it has used
    rounds.py     rounds in random order, disturbed ones rejected, ratios within the round
"""
