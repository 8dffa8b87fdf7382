"""The metrics of requests, under ingress-nginx's names and labels, and the flags that shape them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from ingress.observe.totals import Sums, Told, Totals
from ingress.proxy.counted import LENGTH_BUCKETS, SIZE_BUCKETS, TIME_BUCKETS

_LABELS = ("status", "method", "path", "namespace", "ingress", "service", "canary", "host")
_PREFIX = "nginx_ingress_controller_"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
ROWS = 50
"""Told at a time: about half a millisecond's work."""

T = TypeVar("T")


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

_Values = tuple[str, ...]
"""Of _LABELS."""
_Row = tuple[str, Sums]
"""Labels, as they are written, and what was counted under them."""


def tell_requests(totals: Totals, shape: Shape, constant: Mapping[str, str]) -> Iterator[str]:
    """Every metric that there is of requests, in Prometheus' text format: a little at a time, as there may be thousands
    of rules with seventy lines each. `constant`: labels of all of them."""
    written = _written(constant.items())
    rows = list[_Row]()
    for values, sums in _by_labels(totals, shape):
        rows.append((f"{written},{_written(zip(_LABELS, values, strict=True))}", sums))
        if not len(rows) % ROWS:
            yield ""  # a pause
    if "requests" not in shape.excluded:
        yield _head("requests", "Requests answered, by what the client was told.", "counter")
        for lines in batches(rows):
            yield "".join(f"{_PREFIX}requests{{{labels}}} {sums.requests}\n" for labels, sums in lines)
    for told in _HISTOGRAMS:
        if told.name not in shape.excluded:
            yield _head(told.name, told.what, "histogram")
            bounds = [*(f"{bound:g}" for bound in getattr(shape, told.bounds)), "+Inf"]
            for lines in batches(rows):
                yield "".join(line for row in lines for line in _histogram(told, bounds, row))


def batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """Parts that take no time worth the name."""
    return (rows[at : at + ROWS] for at in range(0, len(rows), ROWS))


def _head(name: str, what: str, kind: str) -> str:
    return f"# HELP {_PREFIX}{name} {what}\n# TYPE {_PREFIX}{name} {kind}\n"


def _written(labels: Iterable[tuple[str, str]]) -> str:
    return ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels])


def _histogram(told: _Histogram, bounds: list[str], row: _Row) -> Iterator[str]:
    labels, sums = row
    buckets, total, name = sums.buckets[told.at], 0, _PREFIX + told.name
    if any(buckets):
        for bound, count in zip(bounds, buckets, strict=True):
            total += count
            yield f'{name}_bucket{{{labels},le="{bound}"}} {total}\n'
        yield f"{name}_count{{{labels}}} {total}\n{name}_sum{{{labels}}} {told.sum(sums)}\n"


def _by_labels(totals: Totals, shape: Shape) -> Iterator[tuple[_Values, Sums]]:
    whole = [*totals.requests.items()]
    if shape.per_host and not shape.status_classes:
        yield from ((_values(told, shape), sums) for told, sums in whole)
        return
    joined = dict[_Values, Sums]()
    for told, sums in whole:
        joined.setdefault(_values(told, shape), Sums()).join(sums)
    yield from joined.items()


def _values(told: Told, shape: Shape) -> _Values:
    status = f"{told.status // 100}xx" if shape.status_classes else str(told.status)
    namespace, ingress, service, host, path = told.labels
    return status, told.method, path, namespace, ingress, service, told.canary, host if shape.per_host else ""


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
