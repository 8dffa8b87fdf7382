"""What a route does besides forwarding: one concern in each module, plain Python, run in the workers.

    api.py     what a filter sees and may do; begin here
    chain.py   the filters of one route, one after the other

A route without filters pays nothing for them; one with filters pays for the hooks these have. `FILTERS` names every
filter there is, in the order in which they see a request: what ends a request cheaply comes first, then who may pass,
then where it goes. Responses are seen in the opposite order.
"""

FILTERS: dict[str, str] = {
    "closed": "ingress.filters.closed:Closed",
}
"""Name -> "module:Class", in the order of running. A module is imported by the first route that needs it."""
