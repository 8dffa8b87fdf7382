"""Every number the L7 half exports, on one page. Base units; labels are bounded by what the Ingresses say.

Where ingress-nginx has a metric it has its name and labels here, so that its dashboards work (its counters have no
"_total" there, so neither have they here); what it has none for begins with causeway_.
"""

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingress.observe.processes import Usage, usages
from ingress.observe.requests import batches, tell_requests
from ingress.routes.model import Certificate

if TYPE_CHECKING:
    from ingress.run import Proxy

PREFIX = "nginx_ingress_controller_"
_CERTIFICATE_LABELS = ("namespace", "class", "host", "secret_name", "identifier")
_ISSUER_LABELS = ("issuer_organization", "issuer_common_name", "serial_number", "public_key_algorithm")


_ALGORITHMS = ((rsa.RSAPublicKey, "RSA"), (ec.EllipticCurvePublicKey, "ECDSA"), (ed25519.Ed25519PublicKey, "Ed25519"))


class _Page:
    """All metrics of one moment, as prometheus_client wants them."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.plain: set[str] = set()
        """Counters that are written without the "_total" that the library gives them."""
        self.constant = {
            "controller_namespace": os.environ.get("POD_NAMESPACE", ""),
            "controller_class": proxy.plan.selection.controllers[0] if proxy.plan.selection.controllers else "",
            "controller_pod": os.environ.get("POD_NAME") or socket.gethostname(),
        }

    def collect(self) -> Iterable[Metric]:
        yield from self._connections()
        yield from self._configuration()
        yield from self._certificates()
        yield from self._orphans()
        yield from self._processes()
        yield from _engine(self.proxy)
        yield from _tables(self.proxy)
        yield from _workers(self.proxy)

    def _metric(self, name: str, what: str, kind: str) -> Metric:
        metric = Metric(PREFIX + name, what, kind)
        if kind == "counter":
            self.plain.add(metric.name)
        return metric

    def _one(self, name: str, what: str, value: float, kind: str = "gauge", /, **labels: str) -> Metric:
        metric = self._metric(name, what, kind)
        self._add(metric, labels, value)
        return metric

    def _add(self, metric: Metric, labels: dict[str, str], value: float, suffix: str = "") -> None:
        metric.add_sample(metric.name + suffix, {**self.constant, **labels}, value)

    def _connections(self) -> Iterator[Metric]:
        workers = self.proxy.supervisor.workers.values()
        now = self._metric("nginx_process_connections", "Client connections open, and what they do.", "gauge")
        for state, key in (("active", "connections"), *((each, each) for each in ("reading", "writing", "waiting"))):
            self._add(now, {"state": state}, sum(each.stats.get(key, 0) for each in workers))
        ever = self._metric("nginx_process_connections_total", "Client connections there have been.", "counter")
        for state in ("accepted", "handled"):
            self._add(ever, {"state": state}, self.proxy.totals.events.get("accepted", 0))
        answered = self.proxy.totals.answered
        yield from (now, ever, self._one("nginx_process_requests_total", "Requests answered.", answered, "counter"))

    def _configuration(self) -> Iterator[Metric]:
        controller, publisher = self.proxy.controller, self.proxy.plan.publisher
        well = controller.compiled_well and self.proxy.maintenance.reloaded_well
        changed = controller.applied_at_seconds
        yield self._one("config_last_reload_successful", "Whether the last change could be taken up.", int(well))
        yield self._one("config_last_reload_successful_timestamp_seconds", "When that was (Unix time).", changed)
        yield self._one("success", "Changes taken up.", self.proxy.supervisor.generation, "counter")
        yield self._one("errors", "Changes that could not be taken up.", controller.failures, "counter")
        yield self._one("build_info", "What runs.", 1, release=_version(), build="", repository="")
        if publisher is not None and publisher.replicas.name:
            leading = int(publisher.replicas.leading)
            yield self._one("leader_election_status", "1: we write statuses.", leading, name=publisher.replicas.name)

    def _certificates(self) -> Iterator[Metric]:
        shown = list(self.proxy.table.certificates.values())
        for some in batches(shown):
            expiry = self._metric("ssl_expire_time_seconds", "When a certificate expires (Unix time).", "gauge")
            for found in some:
                self._add(expiry, self._place(found), _read_certificate(found.chain_pem)[0])
            yield expiry
        for some in batches(shown):
            about = self._metric("ssl_certificate_info", "What certificates say of themselves.", "gauge")
            for found in some:
                issuer = dict(zip(_ISSUER_LABELS, _read_certificate(found.chain_pem)[1], strict=True))
                self._add(about, {**self._place(found), **issuer}, 1)
            yield about

    def _place(self, found: Certificate) -> dict[str, str]:
        namespace, _, name = found.secret.partition("/")
        identifier = f"{found.secret}-{_read_certificate(found.chain_pem)[1][2]}"
        place = (namespace, self.constant["controller_class"], found.host or "_", name, identifier)
        return dict(zip(_CERTIFICATE_LABELS, place, strict=True))

    def _orphans(self) -> Iterator[Metric]:
        """Ingresses with a route that answers 503."""
        orphans, told = self._metric("orphan_ingress", "Ingresses that name what is not there.", "gauge"), set()
        for route in self.proxy.table.routes():
            backend = self.proxy.table.backends[route.backend]
            if not backend.endpoints:
                told.add((route.ingress, "no-service" if backend.wrong else "no-endpoint"))
        for ingress, kind in sorted(told):
            namespace, _, name = ingress.partition("/")
            self._add(orphans, {"namespace": namespace, "ingress": name, "type": kind}, 1)
        yield orphans

    def _processes(self) -> Iterator[Metric]:
        supervisor, whole = self.proxy.supervisor, Usage()
        pids = [("supervisor", os.getpid())]
        pids += ((f"worker-{slot}", worker.pid) for slot, worker in sorted(supervisor.workers.items()))
        memory = GaugeMetricFamily("causeway_process_resident_memory_bytes", "Resident memory.", labels=("process",))
        cpu = CounterMetricFamily("causeway_process_cpu_seconds", "User and system CPU time.", labels=("process",))
        files = GaugeMetricFamily("causeway_process_open_fds", "Open file descriptors.", labels=("process",))
        for name, used in usages(pids).items():
            whole.add(used)
            memory.add_metric((name,), used.resident_bytes)
            cpu.add_metric((name,), used.cpu_seconds)
            files.add_metric((name,), used.open_files)
        yield from (memory, cpu, files)
        name = "nginx_process_"
        yield self._one(name + "num_procs", "Supervisor and workers.", whole.processes)
        yield self._one(name + "resident_memory_bytes", "Of all processes.", whole.resident_bytes)
        yield self._one(name + "virtual_memory_bytes", "Of all processes.", whole.virtual_bytes)
        yield self._one(name + "oldest_start_time_seconds", "When we started.", whole.oldest_start_seconds)
        yield self._one(name + "cpu_seconds_total", "Of all processes there have been.", whole.cpu_seconds, "counter")
        yield self._one(name + "read_bytes_total", "From storage, by all processes.", whole.read_bytes, "counter")
        yield self._one(name + "write_bytes_total", "To storage, by all processes.", whole.written_bytes, "counter")


def exposition(proxy: "Proxy") -> Iterator[bytes]:
    """The metrics in Prometheus' text format, in pieces of about a millisecond's work."""
    page = _Page(proxy)
    for text in tell_requests(proxy.totals, proxy.plan.metrics, page.constant):
        yield text.encode()
    last = ""
    for metric in page.collect():
        yield _lines(metric, page.plain, more=metric.name == last)
        last = metric.name


def _lines(metric: Metric, plain: Collection[str], *, more: bool) -> bytes:
    """more: it goes on with what came last."""
    head, kind, *samples = generate_latest(_One(metric)).splitlines(keepends=True)
    if metric.name in plain:  # the library calls every counter ..._total here, whatever its samples are called
        told, written = f" {metric.name}_total ".encode(), f" {metric.name} ".encode()
        head, kind = head.replace(told, written), kind.replace(told, written)
    return b"".join(samples if more else (head, kind, *samples))


class _One(Collector):
    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self.metric,)


@cache
def _read_certificate(chain_pem: bytes) -> tuple[float, tuple[str, str, str, str]]:
    """When the first certificate expires; and its issuer's organization and name, serial number, key algorithm."""
    first = x509.load_pem_x509_certificates(chain_pem)[0]
    organizations = first.issuer.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    names = first.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    organization, name = (str(each[0].value) if each else "" for each in (organizations, names))
    key = first.public_key()
    algorithm = next((word for kind, word in _ALGORITHMS if isinstance(key, kind)), type(key).__name__)
    return first.not_valid_after_utc.timestamp(), (organization, name, str(first.serial_number), algorithm)


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("causeway")
    except PackageNotFoundError:
        return ""


def _engine(proxy: "Proxy") -> Iterator[Metric]:
    events = CounterMetricFamily(
        "causeway_events", "Connections accepted, and what went wrong with some.", labels=("event",)
    )
    for event, count in sorted(proxy.totals.events.items()):
        events.add_metric((event,), count)
    yield events
    workers = proxy.supervisor.workers.values()
    for name, key, what in (
        ("causeway_upstream_connections", "upstream_connections", "Connections to endpoints open."),
        ("causeway_requests_in_flight", "exchanges", "Requests under way."),
    ):
        yield GaugeMetricFamily(name, what, value=sum(worker.stats.get(key, 0) for worker in workers))


def _tables(proxy: "Proxy") -> Iterator[Metric]:
    table = proxy.table
    sizes = GaugeMetricFamily("causeway_table_entries", "What is being served.", labels=("table",))
    sizes.add_metric(("hosts",), len(table.hosts))
    sizes.add_metric(("routes",), table.route_count)
    sizes.add_metric(("backends",), len(table.backends))
    sizes.add_metric(("certificates",), len(table.certificates))
    yield sizes
    empty = sum(1 for backend in table.backends.values() if not backend.endpoints)
    yield GaugeMetricFamily("causeway_backends_without_endpoints", "Backends that answer 503.", value=empty)
    problems = len(proxy.plan.source.problems) + len(table.problems)
    yield GaugeMetricFamily("causeway_problems", "What an operator must correct; see /routes.", value=problems)
    yield GaugeMetricFamily("causeway_ready", "1 if /readyz says so.", value=int(not proxy.not_ready))


def _workers(proxy: "Proxy") -> Iterator[Metric]:
    supervisor = proxy.supervisor
    yield GaugeMetricFamily("causeway_workers", "Worker processes that answer requests.", value=supervisor.serving)
    replaced = CounterMetricFamily("causeway_workers_replaced", "Workers that ended unasked.", labels=("reason",))
    for reason in ("exited", "hung", "killed"):
        replaced.add_metric((reason,), supervisor.replaced[reason])
    yield replaced
    what = "Slots without a worker because theirs end again and again."
    yield GaugeMetricFamily("causeway_workers_waiting", what, value=supervisor.waiting)
