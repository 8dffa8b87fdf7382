"""What has been counted, over workers that come and go.

Workers count in plain memory and only ever upwards. `Totals` adds up what each has counted more than when it was last
looked at, so that the sums survive a worker that is killed.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ingress.routes.compile import RoutingTable
from ingress.routes.model import Route, split_key

if TYPE_CHECKING:
    from ingress.supervisor import Worker

BUCKET_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the duration histogram, as in ingress/proxy/stats.pxi (and in ingress-nginx)."""

NO_ROUTE = -1
"""What the engine counts requests by that no route matched."""


class Labels(NamedTuple):
    """Whose request it was; all "" where no Ingress matched. Bounded by what the Ingresses say, never by requests."""

    namespace: str = ""
    ingress: str = ""
    service: str = ""
    host: str = "_"
    """The rule's host; "_" for rules without one, as ingress-nginx has it."""
    path: str = ""
    """The rule's path."""


NOBODY = Labels()


class Sums:
    """What was counted for one status of one route."""

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

    def join(self, other: "Sums") -> None:
        self.add({name: getattr(other, name) for name in Sums.__slots__}, {})


class Totals:
    """Sums over all workers there have been."""

    def __init__(self, table: RoutingTable) -> None:
        self.table = table
        self.requests: dict[tuple[Labels, int], Sums] = {}
        self.answered = 0
        """All requests, also those of routes that are gone."""
        self.events: dict[str, int] = {}
        self._seen: dict[int, dict[str, Any]] = {}  # pid -> its stats when last taken
        self._labels: dict[int, Labels] = {}  # route id -> labels
        self._labels_before: dict[int, Labels] = {}

    def take(self, worker: "Worker") -> None:
        """Add what a worker has counted since it was last taken."""
        now, before = worker.stats, self._seen.get(worker.pid, {})
        rows_before = before.get("requests", {})
        for (route, status), row in now.get("requests", {}).items():
            row_before = rows_before.get((route, status), {})
            self.answered += row["requests"] - row_before.get("requests", 0)
            labels = self._labels_of(route)
            if labels is not None:
                self.requests.setdefault((labels, status), Sums()).add(row, row_before)
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
            return NOBODY
        return self._labels.get(route) or self._labels_before.get(route)

    def routes_changed(self) -> None:
        """Learn the new routes; forget the counts of rules that are gone."""
        before = self._labels
        self._labels = {route.id: labels_of(route) for route in self.table.routes()}
        live = {NOBODY, *self._labels.values()}
        self._labels_before = {number: labels for number, labels in before.items() if labels in live}
        self.requests = {key: sums for key, sums in self.requests.items() if key[0] in live}


def labels_of(route: Route) -> Labels:
    namespace, _, name = route.ingress.partition("/")
    return Labels(namespace, name, split_key(route.backend)[1], route.host or "_", route.path)
