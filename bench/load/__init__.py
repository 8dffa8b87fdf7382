"""The load generator: requests in, latencies out.

Where to look:

    arrivals.py   when each request is meant to be sent: constant, Poisson, ramps, steps      pure
    scenario.py   what is sent: a YAML file, or one URL                                       pure
    result.py     what came of it: counts, errors by kind, HDR percentiles, JSON              pure
    engine.pyx    sockets: sends, reads answers, measures                                     compiled
    process.py    one generating process: an asyncio loop around the engine
    run.py        several of them, merged; live progress
"""
