"""A run's figures for Prometheus while it goes on."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bench.load.result import Counts, value_us

BUCKETS_MS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


class Gauges(Collector):
    """Holds the latest counts; a scrape reads them. One assignment replaces them, so that no lock is needed."""

    def __init__(self) -> None:
        self.counts = Counts()

    def collect(self) -> Iterator[Metric]:
        counts = self.counts
        yield _counter("requests_sent", "Requests sent.", {(): counts.sends})
        yield _counter(
            "answers", "Answers received, by status.", {(str(s),): n for s, n in counts.statuses.items()}, "status"
        )
        yield _counter(
            "errors", "Requests without an answer, by kind.", {(k,): n for k, n in counts.errors.items()}, "kind"
        )
        yield _counter("failed_checks", "Answers that are not what is expected.", {(): counts.failed_checks})
        yield _counter("connects", "Connections made.", {(): counts.connects})
        answered_by = {(name,): count for name, count in counts.answered_by.items()}
        yield _counter("answered_by", "Answers by who gave them.", answered_by, "endpoint")
        yield _latency(counts)


def _counter(name: str, about: str, values: Mapping[Any, int], *labels: str) -> CounterMetricFamily:
    family = CounterMetricFamily(f"causeway_bench_{name}", about, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _latency(counts: Counts) -> HistogramMetricFamily:
    buckets = [[milliseconds, 0] for milliseconds in BUCKETS_MS]
    for index, count in counts.histogram.items():
        for bucket in buckets:
            if value_us(index) <= bucket[0] * 1000:
                bucket[1] += count
    family = HistogramMetricFamily(
        "causeway_bench_latency_seconds", "From the intended send time to the whole answer.", labels=()
    )
    cumulative = [(str(milliseconds / 1000), float(count)) for milliseconds, count in buckets]
    family.add_metric((), [*cumulative, ("+Inf", float(counts.answers))], counts.latency_sum_us / 1e6)
    return family


@contextmanager
def served(address: str | None) -> Iterator[Gauges]:
    """Serve /metrics at HOST:PORT (None: nowhere) as long as the block runs."""
    gauges = Gauges()
    if address is None:
        yield gauges
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"--metrics: {address!r} is not HOST:PORT, for example 127.0.0.1:9100 or :9100")
    registry = CollectorRegistry()
    registry.register(gauges)
    server: WSGIServer
    thread: threading.Thread
    try:
        server, thread = start_http_server(int(port), host.strip("[]") or "0.0.0.0", registry)
    except OSError as error:
        raise ValueError(f"--metrics: cannot listen on {address}: {error.strerror}") from None
    try:
        yield gauges
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
