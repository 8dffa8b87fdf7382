"""The metrics of requests, under ingress-nginx's names and labels, and the flags that shape them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import click
from prometheus_client.core import Metric

from ingress.observe.totals import Labels, Sums, Told, Totals
from ingress.proxy.counted import LENGTH_BUCKETS, SIZE_BUCKETS, TIME_BUCKETS

_LABELS = ("status", "method", "path", "namespace", "ingress", "service", "canary", "host")
_PREFIX = "nginx_ingress_controller_"


class Shape(NamedTuple):
    """What the flags say about them."""

    per_host: bool = True
    """A label for the rule's host."""
    status_classes: bool = False
    """4xx instead of 404."""
    time_buckets: tuple[float, ...] = TIME_BUCKETS
    length_buckets: tuple[float, ...] = LENGTH_BUCKETS
    size_buckets: tuple[float, ...] = SIZE_BUCKETS
    excluded: frozenset[str] = frozenset()
    """Names, without prefix, of what is left out."""

    @property
    def bounds(self) -> tuple[tuple[float, ...], ...]:
        return self.time_buckets, self.length_buckets, self.size_buckets


class _Histogram(NamedTuple):
    name: str
    what: str
    at: int
    """Of its buckets in Sums."""
    bounds: str
    """Field of Shape."""
    sum: Callable[[Sums], float]


_HISTOGRAMS = (
    _Histogram(
        "request_duration_seconds",
        "From a request's head to the end of its response.",
        0,
        "time_buckets",
        lambda sums: sums.seconds[0],
    ),
    _Histogram(
        "response_duration_seconds",
        "From the choice of an endpoint to the end of its response.",
        1,
        "time_buckets",
        lambda sums: sums.seconds[1],
    ),
    _Histogram(
        "header_duration_seconds",
        "From the choice of an endpoint to the head of its response.",
        2,
        "time_buckets",
        lambda sums: sums.seconds[2],
    ),
    _Histogram(
        "connect_duration_seconds",
        "Until an endpoint was connected; nothing for a connection that is used again.",
        3,
        "time_buckets",
        lambda sums: sums.seconds[3],
    ),
    _Histogram("request_size", "Octets of requests, heads included.", 4, "length_buckets", lambda sums: sums.octets_in),
    _Histogram(
        "response_size", "Octets of responses, heads included.", 5, "length_buckets", lambda sums: sums.octets_out
    ),
    _Histogram(
        "bytes_sent", "The same as response_size, by its old name.", 6, "size_buckets", lambda sums: sums.octets_out
    ),
)

Begin = Callable[[str, str, str], Metric]
"""(name, what it is, kind) -> a metric without samples."""
Add = Callable[[Metric, dict[str, str], float, str], None]
"""Adds a sample: (metric, labels, value, suffix of the name)."""


def tell_requests(totals: Totals, shape: Shape, begin: Begin, add: Add) -> Iterator[Metric]:
    """Every metric that there is of requests."""
    rows = list(_by_labels(totals, shape))
    if "requests" not in shape.excluded:
        requests = begin("requests", "Requests answered, by what the client was told.", "counter")
        for labels, sums in rows:
            add(requests, labels, sums.requests, "")
        yield requests
    for told in _HISTOGRAMS:
        if told.name not in shape.excluded:
            metric = begin(told.name, told.what, "histogram")
            bounds = [*(f"{bound:g}" for bound in getattr(shape, told.bounds)), "+Inf"]
            for labels, sums in rows:
                _add_histogram(metric, labels, bounds, (sums.buckets[told.at], told.sum(sums)), add)
            yield metric


def _add_histogram(
    metric: Metric, labels: dict[str, str], bounds: list[str], counted: tuple[list[int], float], add: Add
) -> None:
    buckets, whole = counted
    total = 0
    if any(buckets):
        for bound, count in zip(bounds, buckets, strict=True):
            total += count
            add(metric, {**labels, "le": bound}, total, "_bucket")
        add(metric, labels, total, "_count")
        add(metric, labels, whole, "_sum")


def _by_labels(totals: Totals, shape: Shape) -> Iterator[tuple[dict[str, str], Sums]]:
    found = dict[tuple[Labels, Told, str], Sums]()
    for told, sums in sorted(totals.requests.items(), key=lambda each: each[0]):
        status = f"{told.status // 100}xx" if shape.status_classes else str(told.status)
        whose = told.labels if shape.per_host else told.labels._replace(host="")
        found.setdefault((whose, told._replace(labels=whose, status=0), status), Sums()).join(sums)
    for (labels, told, status), sums in found.items():
        more = {"status": status, "method": told.method, "canary": told.canary}
        yield {**dict.fromkeys(_LABELS, ""), **labels._asdict(), **more}, sums


# -- flags


def _read_bounds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        return tuple(float(each) for each in value.split(","))
    except ValueError:
        raise click.BadParameter(f'"{value}": write numbers, as in 0.1,0.5,1', ctx, param) from None


def _read_names(ctx: click.Context, param: click.Parameter, value: str) -> frozenset[str]:
    """Also of metrics that ingress-nginx has, or once had, and we have not."""
    return frozenset(each.strip().removeprefix(_PREFIX) for each in value.split(",") if each.strip())


def _bounds_flag(name: str, what: str) -> Callable[[Any], Any]:
    return click.option(name, callback=_read_bounds, metavar="N[,N...]", help=f"Upper bounds of {what}.")


SHAPE_FLAGS = (
    click.option(
        "--metrics-per-host",
        type=bool,
        default=True,
        show_default=True,
        metavar="BOOL",
        help="Label the metrics of requests with the rule's host.",
    ),
    click.option("--report-status-classes", is_flag=True, help="Count requests by 4xx instead of 404."),
    _bounds_flag("--time-buckets", "histograms of durations, in seconds.  [default: 0.005 to 10]"),
    _bounds_flag("--length-buckets", "those of request_size and response_size, in octets.  [default: 10 to 100]"),
    _bounds_flag("--size-buckets", "that of bytes_sent, in octets.  [default: 10 to 1e7]"),
    click.option(
        "--exclude-socket-metrics",
        callback=_read_names,
        default="",
        metavar="NAME[,NAME...]",
        help="Leave out these metrics of requests, such as bytes_sent.",
    ),
)
