"""Two filters. ingress/filters/api.py says what a filter sees and may do.

    metadata:
      annotations:
        causeway.dev/filters: "office-hours,stamp"
        causeway.dev/filter-options: |
          {"office-hours": {"from_hour": 8, "to_hour": 18}, "stamp": {"text": "seen"}}

They run in the workers, on the loop that moves every other request: a hook computes and returns. What takes time is
awaited (`tools.fetch`, `tools.in_thread`).
"""

import time

import msgspec

from ingress.filters.api import Elsewhere, Filter, Reply, Request, Response


class StampOptions(msgspec.Struct, frozen=True):
    """What the annotation's JSON may say; anything else is reported, and its Ingress closed."""

    text: str = "stamped"


class Stamp(Filter[StampOptions]):
    """Endpoints are told who asks, clients how long it took."""

    name = "stamp"
    Specification = StampOptions

    def request(self, request: Request) -> None:
        request.notes[self.name] = time.monotonic()
        request.set("X-Stamp", f"{self.specification.text}; client={request.client}")

    def response(self, request: Request, response: Response) -> Elsewhere | None:
        took_ms = (time.monotonic() - request.notes.get(self.name, time.monotonic())) * 1000
        request.set_response(
            "X-Stamp", f"{self.specification.text}; ms={took_ms:.1f}; by={response.endpoint or 'proxy'}"
        )
        return None


class OfficeHours(msgspec.Struct, frozen=True):
    """UTC, whole hours; from 8 to 18 is 8:00 to 17:59."""

    from_hour: int = 0
    to_hour: int = 24


class OfficeHoursOnly(Filter[OfficeHours]):
    """Requests at other times are turned away."""

    name = "office-hours"
    Specification = OfficeHours

    def request(self, request: Request) -> Reply | None:
        if self.specification.from_hour <= time.gmtime().tm_hour < self.specification.to_hour:
            return None
        return Reply(503, (("Content-Type", "text/plain"), ("Retry-After", "3600")), b"We are closed.\n")
