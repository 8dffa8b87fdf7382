"""How requests are counted: what a row of counters says, and the bounds of its histograms."""

from typing import NamedTuple

METHODS = ("", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "OTHER")
"""What a method is counted as; "" where it was not understood, or nobody spoke HTTP."""

TIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LENGTH_BUCKETS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
SIZE_BUCKETS = (10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7)
"""Upper bounds of histograms, in seconds and octets, as ingress-nginx has them."""


class Durations(NamedTuple):
    """Sums, in seconds. The last three are of the attempt that brought the response."""

    request: float
    """From a request's head to the end of its response."""
    response: float
    """From the choice of an endpoint to the end of its response."""
    header: float
    """From there to the head of its response."""
    connect: float
    """From there to the connection; nothing for one that is used again."""


class Histograms(NamedTuple):
    """Of each, how many were up to each bound, and at the end how many above all. Not cumulative."""

    request: tuple[int, ...]
    response: tuple[int, ...]
    header: tuple[int, ...]
    connect: tuple[int, ...]
    request_length: tuple[int, ...]
    response_length: tuple[int, ...]
    response_size: tuple[int, ...]
    """The lengths of responses again, by other bounds."""


class Counted(NamedTuple):
    """What was counted of one route, status, method and alternative."""

    route: int
    """-1: no route."""
    status: int
    method: str
    """One of METHODS."""
    alternative: str
    """Key of the backend that was chosen instead of the route's; "" if none was."""
    requests: int
    octets_in: int
    """Heads included, as in octets_out."""
    octets_out: int
    seconds: Durations
    buckets: Histograms


class EndpointSeen(NamedTuple):
    """What was seen of one endpoint: attempts since the engine was made, connections now."""

    address: str
    """ip:port"""
    requests: int
    failures: int
    open: int
    idle: int
    """Of those that are open."""
    ejected: bool
    """It is left out for failing."""
