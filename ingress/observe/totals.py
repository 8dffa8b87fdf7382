"""What has been counted, over workers that come and go.

Workers count in plain memory: requests by rows that they hand over, events upwards for ever. `Totals` adds up what is
new, so that the sums survive a worker that is killed. On an upgrade the next supervisor adds them to its own.
"""

from collections import Counter
from collections.abc import Mapping
from operator import add
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ingress.proxy.counted import Counted
from ingress.routes.model import HostTable, Route, split_key

if TYPE_CHECKING:
    from ingress.worker_line import Worker

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


class Told(NamedTuple):
    """What requests are counted by."""

    labels: Labels
    canary: str
    """The Service of the backend that was chosen instead of the rule's; "" if none was."""
    method: str
    status: int


class Sums(msgspec.Struct, array_like=True):
    """What was counted of some requests; see Counted in ingress/proxy/counted.py."""

    requests: int = 0
    octets_in: int = 0
    octets_out: int = 0
    seconds: list[float] = []
    buckets: list[list[int]] = []

    def join(self, other: "Counted | Sums") -> None:
        self.requests += other.requests
        self.octets_in += other.octets_in
        self.octets_out += other.octets_out
        if self.buckets:
            self.seconds = list(map(add, self.seconds, other.seconds))
            self.buckets = [list(map(add, mine, more)) for mine, more in zip(self.buckets, other.buckets, strict=True)]
        else:
            self.seconds = list(other.seconds)
            self.buckets = [list(each) for each in other.buckets]


class Handed(msgspec.Struct):
    """What one supervisor has counted, for the next one; only what it has not handed on before."""

    bounds: tuple[tuple[float, ...], ...]
    requests: list[tuple[Told, Sums]]
    answered: int
    events: dict[str, int]


class Totals:
    """Sums over all workers there have been."""

    def __init__(self, bounds: tuple[tuple[float, ...], ...] = ()) -> None:
        self.bounds = bounds
        """Of the histograms: others cannot be added to them."""
        self.requests: dict[Told, Sums] = {}
        self.answered = 0
        """All requests, also those of routes that are gone."""
        self.events = Counter[str]()
        self._seen: dict[int, Mapping[str, int]] = {}  # pid -> its events when last taken
        self._routes: dict[str, tuple[Route, ...]] = {}  # host -> its routes
        self._labels: dict[int, Labels] = {}  # route id -> labels
        self._live: dict[Labels, int] = {NOBODY: 1}  # how many routes have them
        self._told: dict[Labels, list[Told]] = {}  # what there is of them in `requests`
        self._gone: dict[int, Labels] = {}  # routes that have gone since the workers were asked
        self._gone_before: dict[int, Labels] = {}

    def take(self, worker: "Worker", rows: int | None = None) -> bool:
        """Add what a worker has counted since it was last taken, or `rows` of that; return whether some are left."""
        counted, worker.counted = worker.counted[:rows], [] if rows is None else worker.counted[rows:]
        for row in counted:
            self.answered += row.requests
            labels = self._labels_of(row.route)
            if labels is not None:
                canary = split_key(row.alternative)[1] if row.alternative else ""
                self._sums(Told(labels, canary, row.method, row.status)).join(row)
        now, before = worker.stats.get("events", {}), self._seen.get(worker.pid, {})
        for event, count in now.items():
            self.events[event] += count - before.get(event, 0)
        self._seen[worker.pid] = now
        return bool(worker.counted)

    def all_taken(self) -> None:
        """Every worker has just been asked and taken: nothing more comes of routes that went before the last time."""
        self._gone_before, self._gone = self._gone, {}

    def lost(self, worker: "Worker") -> None:
        """A worker has ended: add what it said last."""
        self.take(worker)
        self._seen.pop(worker.pid, None)

    def hand_out(self) -> bytes:
        """Everything, for the next supervisor: from here on only what is new is counted here."""
        handed = Handed(self.bounds, list(self.requests.items()), self.answered, dict(self.events))
        self.requests, self.answered, self.events, self._told = {}, 0, Counter(), {}
        return msgspec.msgpack.encode(handed)

    def inherit(self, handed: bytes) -> None:
        """Add what `hand_out` gave. Raises ValueError or msgspec.MsgspecError for what cannot be added."""
        found = msgspec.msgpack.decode(handed, type=Handed)
        if found.bounds != self.bounds:
            raise ValueError("histograms have other bounds now")
        for told, sums in found.requests:
            if told.labels in self._live:
                self._sums(told).join(sums)
        self.answered += found.answered
        self.events.update(found.events)

    def _sums(self, told: Told) -> Sums:
        found = self.requests.get(told)
        if found is None:
            found = self.requests[told] = Sums()
            self._told.setdefault(told.labels, []).append(told)
        return found

    def _labels_of(self, route: int) -> Labels | None:
        """None: the rule is gone. A route that has just gone still has requests to count for its rule."""
        if route == NO_ROUTE:
            return NOBODY
        labels = self._labels.get(route) or self._gone.get(route) or self._gone_before.get(route)
        return labels if labels in self._live else None

    def routes_changed(self, hosts: Mapping[str, HostTable | None]) -> None:
        """Learn the routes of hosts (None: it is gone); forget the counts of rules that are gone."""
        left: list[Labels] = []
        for host, table in hosts.items():
            for route in self._routes.pop(host, ()):
                labels = self._gone[route.id] = self._labels.pop(route.id)
                self._live[labels] -= 1
                left.append(labels)
            if table is not None:
                self._routes[host] = table.routes
                for route in table.routes:
                    self._gone.pop(route.id, None)
                    labels = self._labels[route.id] = labels_of(route)
                    self._live[labels] = self._live.get(labels, 0) + 1
        for labels in left:
            if self._live.get(labels) == 0:
                del self._live[labels]
                for told in self._told.pop(labels, ()):
                    del self.requests[told]


def labels_of(route: Route) -> Labels:
    namespace, _, name = route.ingress.partition("/")
    return Labels(namespace, name, split_key(route.backend)[1], route.host or "_", route.path)
