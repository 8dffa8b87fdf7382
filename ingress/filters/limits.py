"""Limits per client: requests under way, per second and per minute.

As nginx's limit_conn and limit_req with nodelay: a bucket that leaks, in thousandths of a request. All paths of an
Ingress share one zone, and all workers the numbers (ingress/tallies.py). Each replica counts for itself.

A request is counted only if every limit lets it pass.
"""

import msgspec

from ingress.filters.api import Filter, Reply, Request, Tools
from ingress.filters.networks import Networks, read_address
from ingress.filters.variables import Template

REQUEST = 1000
"""What one request puts in a bucket."""
CLOCK_LEAP_MS = 60000


class LimitsSpecification(msgspec.Struct, frozen=True):
    zone: str
    """The Ingress, "shop/web"."""
    connections: int = 0
    """Requests under way at once; 0: no limit, here and below."""
    per_second: int = 0
    per_minute: int = 0
    burst_multiplier: int = 5
    """So many times the limit may come at once."""
    exempt: tuple[str, ...] = ()
    """Networks without limits."""
    key: str = ""
    """Text with variables that stands for a client; who has none is not limited. "": its address."""
    connections_status: int = 503
    requests_status: int = 503


class Bucket(msgspec.Struct, frozen=True):
    """One rate: nginx's limit_req_zone and limit_req in one."""

    zone: str
    rate: int
    """It loses so much in a second."""
    burst: int
    """It holds so much beside the request that comes."""

    def excess(self, now_ms: int, last_ms: int, excess: int) -> tuple[int, int]:
        """What is in it with a request more, and the time to remember. ngx_http_limit_req_lookup, in integers."""
        if not last_ms:
            return now_ms, 0
        elapsed_ms = now_ms - last_ms
        if elapsed_ms < 0:
            elapsed_ms = 1 if elapsed_ms < -CLOCK_LEAP_MS else 0
        return now_ms if elapsed_ms else last_ms, max(0, excess - self.rate * elapsed_ms // 1000 + REQUEST)


class Limits(Filter[LimitsSpecification]):
    name = "limits"
    Specification = LimitsSpecification

    def __init__(self, specification: LimitsSpecification, tools: Tools) -> None:
        super().__init__(specification, tools)
        found = specification
        self._exempt = Networks(found.exempt)
        self._key = Template.parse(found.key) if found.key else None
        self._busy = Reply(found.connections_status)
        self._often = Reply(found.requests_status)
        rates = ((found.per_second, 1, "second"), (found.per_minute, 60, "minute"))
        self._buckets = [
            Bucket(f"{found.zone} {unit}", REQUEST * limit // seconds, REQUEST * limit * found.burst_multiplier)
            for limit, seconds, unit in rates
            if limit
        ]

    def request(self, request: Request) -> Reply | None:
        client = self._key.render(request) if self._key else request.client
        if not client or (self._exempt and self._is_exempt(request.client)):
            return None
        if self.specification.connections:
            row = self.tools.tallies.enter(self.specification.zone, client, self.specification.connections)
            if row is None:
                return self._busy
            request.notes[self.name] = row
        return None if self._passes(client) else self._often

    def finish(self, request: Request, status: int) -> None:
        row = request.notes.pop(self.name, None)
        if row is not None:
            self.tools.tallies.leave(row)

    def _is_exempt(self, client: str) -> bool:
        address = read_address(client)
        return address is not None and address in self._exempt

    def _passes(self, client: str) -> bool:
        """The last bucket is looked at and filled in one step, the others in two, as nginx does it."""
        now_ms = max(1, int(self.tools.now() * 1000))
        last = len(self._buckets) - 1
        for number, bucket in enumerate(self._buckets):
            if not self._fill(bucket, client, now_ms, only_look=number < last):
                return False
        for bucket in self._buckets[:last]:
            self._fill(bucket, client, now_ms, even_if_full=True)
        return True

    def _fill(
        self, bucket: Bucket, client: str, now_ms: int, *, only_look: bool = False, even_if_full: bool = False
    ) -> bool:
        fits = True

        def change(last_ms: int, excess: int) -> tuple[int, int] | None:
            nonlocal fits
            new = bucket.excess(now_ms, last_ms, excess)
            fits = new[1] <= bucket.burst
            return new if (fits or even_if_full) and not only_look else None

        self.tools.tallies.adjust(bucket.zone, client, change)
        return fits
