"""Every number the L7 half exports, on one page. Base units; labels are bounded by what the Ingresses say.

Workers count in plain memory and only ever upwards; they come and go. `Totals` adds up what each has counted more than
when it was last looked at, so that the sums survive a worker that is killed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ingress.routes.compile import RoutingTable, split_key

if TYPE_CHECKING:
    from ingress.run import Proxy
    from ingress.supervisor import Worker

BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram, as in ingress/proxy/stats.pxi (and in ingress-nginx)."""

NO_ROUTE = -1
"""What the engine counts requests by that no route matched."""

LABELS = ("namespace", "ingress", "service")


class Labels(NamedTuple):
    """Whose request it was; all "" where no Ingress matched."""

    namespace: str = ""
    ingress: str = ""
    service: str = ""


class Sums:
    """What was counted for one status of one Ingress and Service."""

    __slots__ = ("buckets", "octets_in", "octets_out", "requests", "seconds")

    def __init__(self) -> None:
        self.requests = 0
        self.octets_in = 0
        self.octets_out = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKET_SECONDS) + 1)

    def add(self, now: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        self.requests += now["requests"] - before.get("requests", 0)
        self.octets_in += now["octets_in"] - before.get("octets_in", 0)
        self.octets_out += now["octets_out"] - before.get("octets_out", 0)
        self.seconds += now["seconds"] - before.get("seconds", 0.0)
        for number, (new, old) in enumerate(zip(now["buckets"], before.get("buckets", [0] * 99), strict=False)):
            self.buckets[number] += new - old


class Totals:
    """Sums over all workers there have been."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self.requests: dict[tuple[Labels, int], Sums] = {}
        self.events: dict[str, int] = {}
        self._seen: dict[int, dict[str, Any]] = {}  # pid -> its stats when last taken
        self._labels: dict[int, Labels] = {}  # route id -> labels
        self._labels_before: dict[int, Labels] = {}

    def take(self, worker: "Worker") -> None:
        """Add what a worker has counted since it was last taken."""
        now, before = worker.stats, self._seen.get(worker.pid, {})
        rows_before = before.get("requests", {})
        for (route, status), row in now.get("requests", {}).items():
            labels = self._labels_of(route)
            if labels is not None:
                sums = self.requests.setdefault((labels, status), Sums())
                sums.add(row, rows_before.get((route, status), {}))
        for event, count in now.get("events", {}).items():
            self.events[event] = self.events.get(event, 0) + count - before.get("events", {}).get(event, 0)
        self._seen[worker.pid] = now

    def lost(self, worker: "Worker") -> None:
        """A worker has ended: add what it said last."""
        self.take(worker)
        self._seen.pop(worker.pid, None)

    def _labels_of(self, route: int) -> Labels | None:
        """None: the route is gone, and its Ingress may be too. One that has just gone still has requests to count."""
        if route == NO_ROUTE:
            return Labels()
        return self._labels.get(route) or self._labels_before.get(route)

    def routes_changed(self) -> None:
        """Learn the new routes; forget the counts of Ingresses and Services that are no longer routed to."""
        before = self._labels
        self._labels = {route.id: _labels(route.ingress, route.backend) for route in self.table.routes()}
        live = {Labels(), *self._labels.values()}
        self._labels_before = {number: labels for number, labels in before.items() if labels in live}
        self.requests = {key: sums for key, sums in self.requests.items() if key[0] in live}


def _labels(ingress: str, backend: str) -> Labels:
    namespace, _, name = ingress.partition("/")
    return Labels(namespace, name, split_key(backend)[1])


class _Page:
    """All metrics of one moment, as prometheus_client wants them."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy

    def collect(self) -> Iterable[Metric]:
        yield from _requests(self.proxy.totals)
        yield from _engine(self.proxy)
        yield from _tables(self.proxy)
        yield from _processes(self.proxy)


def exposition(proxy: "Proxy") -> bytes:
    """The metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(proxy))
    return generate_latest(registry)


def _requests(totals: Totals) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "causeway_requests", "Requests answered, by what the client was told.", labels=(*LABELS, "status")
    )
    received = CounterMetricFamily("causeway_request_bytes", "Octets of requests, heads included.", labels=LABELS)
    sent = CounterMetricFamily("causeway_response_bytes", "Octets of responses, heads included.", labels=LABELS)
    seconds = HistogramMetricFamily(
        "causeway_request_duration_seconds", "From a request's head to the last octet of its response.", labels=LABELS
    )
    by_labels: dict[Labels, Sums] = {}
    for (labels, status), sums in sorted(totals.requests.items()):
        requests.add_metric((*labels, str(status)), sums.requests)
        whole = by_labels.setdefault(labels, Sums())
        whole.add({name: getattr(sums, name) for name in Sums.__slots__}, {})
    for labels, sums in by_labels.items():
        received.add_metric(labels, sums.octets_in)
        sent.add_metric(labels, sums.octets_out)
        seconds.add_metric(labels, list(_cumulative(sums.buckets)), sums.seconds)
    yield from (requests, received, sent, seconds)


def _cumulative(buckets: list[int]) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*map(str, BUCKET_SECONDS), "+Inf"), buckets, strict=True):
        total += count
        yield bound, total


def _engine(proxy: "Proxy") -> Iterator[Metric]:
    events = CounterMetricFamily(
        "causeway_events", "Connections accepted, and what went wrong with some.", labels=("event",)
    )
    for event, count in sorted(proxy.totals.events.items()):
        events.add_metric((event,), count)
    yield events
    workers = proxy.supervisor.workers.values()
    for name, key, what in (
        ("causeway_connections", "connections", "Client connections open."),
        ("causeway_upstream_connections", "upstream_connections", "Connections to endpoints open."),
        ("causeway_requests_in_flight", "exchanges", "Requests under way."),
    ):
        yield GaugeMetricFamily(name, what, value=sum(worker.stats.get(key, 0) for worker in workers))


def _tables(proxy: "Proxy") -> Iterator[Metric]:
    table = proxy.table
    sizes = GaugeMetricFamily("causeway_table_entries", "What is being served.", labels=("table",))
    sizes.add_metric(("hosts",), len(table.hosts))
    sizes.add_metric(("routes",), sum(len(each.routes) for each in table.hosts.values()))
    sizes.add_metric(("backends",), len(table.backends))
    sizes.add_metric(("certificates",), len(table.certificates))
    yield sizes
    empty = sum(1 for backend in table.backends.values() if not backend.endpoints)
    yield GaugeMetricFamily("causeway_backends_without_endpoints", "Backends that answer 503.", value=empty)
    problems = len(proxy.plan.source.problems) + len(table.problems)
    yield GaugeMetricFamily("causeway_problems", "What an operator must correct; see /routes.", value=problems)
    changed = proxy.controller.applied_at_seconds
    yield GaugeMetricFamily(
        "causeway_table_changed_timestamp_seconds", "When what is served last changed (Unix time).", value=changed
    )
    yield GaugeMetricFamily("causeway_ready", "1 if /readyz says so.", value=int(not proxy.not_ready))


def _processes(proxy: "Proxy") -> Iterator[Metric]:
    supervisor = proxy.supervisor
    yield GaugeMetricFamily("causeway_workers", "Worker processes that answer requests.", value=supervisor.serving)
    replaced = CounterMetricFamily("causeway_workers_replaced", "Workers that ended unasked.", labels=("reason",))
    for reason in ("exited", "hung", "killed"):
        replaced.add_metric((reason,), supervisor.replaced[reason])
    yield replaced
    what = "Slots without a worker because theirs end again and again."
    yield GaugeMetricFamily("causeway_workers_waiting", what, value=supervisor.waiting)
    memory = GaugeMetricFamily("causeway_process_resident_memory_bytes", "Resident memory.", labels=("process",))
    cpu = CounterMetricFamily("causeway_process_cpu_seconds", "User and system CPU time.", labels=("process",))
    pids = {"supervisor": os.getpid()}
    pids |= {f"worker-{slot}": worker.pid for slot, worker in sorted(supervisor.workers.items())}
    for name, pid in pids.items():
        try:
            memory.add_metric((name,), _resident_bytes(pid))
            cpu.add_metric((name,), _cpu_seconds(pid))
        except OSError:  # it has just ended
            continue
    yield from (memory, cpu)


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        # After the command, which is in brackets and may hold anything: fields 14 and 15 of proc(5).
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
