"""What a load run reached over time: the counts of every half second, and what the target's process used. Pure."""

from dataclasses import dataclass, field
from typing import Any

from bench.load.result import Counts, latency_ms, total


def between(earlier: Counts, later: Counts) -> Counts:
    """What was counted from one to the other; the slowest answer is not known of that time, so it is left at the whole
    run's."""
    made = Counts(
        answers=later.answers - earlier.answers,
        latency_sum_us=later.latency_sum_us - earlier.latency_sum_us,
        longest_us=later.longest_us,
        seconds=later.seconds - earlier.seconds,
        errors={name: count - earlier.errors.get(name, 0) for name, count in later.errors.items()},
        histogram={index: count - earlier.histogram.get(index, 0) for index, count in later.histogram.items()},
    )
    made.histogram = {index: count for index, count in made.histogram.items() if count}
    return made


@dataclass
class Timeline:
    """Collects the reports of `processes` generators. A point is made when each has reported for that half second."""

    processes: int
    points: list[dict[str, Any]] = field(default_factory=list)
    _reports: list[list[Counts]] = field(default_factory=list)
    _before: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self._reports = [[] for _ in range(self.processes)]

    def heard(self, process: int, counts: Counts, target: dict[str, float] | None = None) -> bool:
        """Take a report; whether it made a point. `target`: what the watched process uses now."""
        self._reports[process].append(counts)
        if not all(self._reports):
            return False
        now = total([reports.pop(0) for reports in self._reports])
        made = between(self._before, now)
        if made.seconds < 0.25:
            return False  # the end may follow the last report at once
        latency = latency_ms(made)
        self.points.append(
            {
                "at": round(now.seconds, 3),
                "throughput": round(made.answers / made.seconds, 1),
                "errors": sum(made.errors.values()),
                "p50_ms": latency["p50"],
                "p99_ms": latency["p99"],
                **(target or {}),
            }
        )
        self._before = now
        return True
