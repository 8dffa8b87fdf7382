"""What came of a load run: counts, errors by kind, latency percentiles, and what was asked for beside what was reached.

Latencies are counted in microseconds in HDR buckets (3 digits, up to an hour) by the engine; the `hdrhistogram` package
owns percentiles. Everything that is written out is in milliseconds.
"""

from typing import Any, TypeVar

import msgspec
from hdrh.histogram import HdrHistogram

Name = TypeVar("Name", str, int)
HIGHEST_US = 3_600_000_000
PERCENTILES = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)


class Counts(msgspec.Struct):
    """What one generating process has counted so far; `histogram` is {HDR bucket index: answers}."""

    sends: int = 0
    answers: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connects: int = 0
    failed_checks: int = 0
    longest_us: int = 0
    latency_sum_us: float = 0.0
    errors: dict[str, int] = {}
    statuses: dict[int, int] = {}
    histogram: dict[int, int] = {}
    answered_by: dict[str, int] = {}
    seconds: float = 0.0
    """Since the beginning; of several processes the longest."""
    cpu_seconds: float = 0.0
    """Of the generating process itself."""

    def add(self, other: "Counts") -> None:
        self.sends += other.sends
        self.answers += other.answers
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.connects += other.connects
        self.failed_checks += other.failed_checks
        self.longest_us = max(self.longest_us, other.longest_us)
        self.latency_sum_us += other.latency_sum_us
        self.seconds = max(self.seconds, other.seconds)
        self.cpu_seconds += other.cpu_seconds
        _add_counts(self.errors, other.errors)
        _add_counts(self.statuses, other.statuses)
        _add_counts(self.histogram, other.histogram)
        _add_counts(self.answered_by, other.answered_by)


def _add_counts(mine: dict[Name, int], theirs: dict[Name, int]) -> None:
    for name, count in theirs.items():
        mine[name] = mine.get(name, 0) + count


def total(all_counts: list[Counts]) -> Counts:
    """One Counts that is the sum of several."""
    summed = Counts()
    for counts in all_counts:
        summed.add(counts)
    return summed


def value_us(index: int) -> int:
    """The highest latency that is counted in the HDR bucket `index`, in microseconds."""
    bucket, within = (index >> 10) - 1, (index & 1023) + 1024
    if bucket < 0:
        bucket, within = 0, within - 1024
    return ((within + 1) << bucket) - 1


def histogram(counts: Counts) -> HdrHistogram:
    """The counts as an HdrHistogram in microseconds."""
    made = HdrHistogram(1, HIGHEST_US, 3)
    for index, count in counts.histogram.items():
        made.record_value(max(1, min(value_us(index), HIGHEST_US)), count)
    return made


def latency_ms(counts: Counts) -> dict[str, float]:
    """mean, percentiles and max in milliseconds; all 0 without an answer."""
    recorded = histogram(counts)
    found = {"mean": counts.latency_sum_us / counts.answers / 1000 if counts.answers else 0.0}
    for percentile in PERCENTILES:
        value = recorded.get_value_at_percentile(percentile) if counts.answers else 0
        # The bucket's upper edge may lie beyond the slowest answer.
        found[f"p{percentile:g}"] = min(value, counts.longest_us) / 1000
    found["max"] = counts.longest_us / 1000
    return {name: round(value, 4) for name, value in found.items()}


def report(counts: Counts, asked: dict[str, Any], elapsed_seconds: float) -> dict[str, Any]:
    """The machine-readable result of a run.

    requests: answers received. errors: by kind; "status" are answers of 400 and above, "check" answers that are not
    what the scenario expects. throughput: answers per second of the time asked for. reached.generator_cpu: cores that
    the generator itself used; near the number of its processes it was the generator that was measured.
    """
    errors = dict(counts.errors)
    refused = sum(count for status, count in counts.statuses.items() if status >= 400)
    if refused:
        errors["status"] = refused
    if counts.failed_checks:
        errors["check"] = counts.failed_checks
    reached: dict[str, Any] = {
        "requests_per_second": round(counts.answers / elapsed_seconds, 2) if elapsed_seconds else 0.0,
        "seconds": round(elapsed_seconds, 3),
        "sent": counts.sends,
        "connects": counts.connects,
        "generator_cpu": round(counts.cpu_seconds / counts.seconds, 3) if counts.seconds else 0.0,
    }
    return {
        "kind": "load",
        "requests": counts.answers,
        "errors": errors,
        "latency_ms": latency_ms(counts),
        "throughput": reached["requests_per_second"],
        "bytes_per_second": {
            "in": round(counts.bytes_in / elapsed_seconds) if elapsed_seconds else 0,
            "out": round(counts.bytes_out / elapsed_seconds) if elapsed_seconds else 0,
        },
        "statuses": {str(status): count for status, count in sorted(counts.statuses.items())},
        "answered_by": dict(sorted(counts.answered_by.items())),
        "asked": asked,
        "reached": reached,
        "histogram_us": histogram(counts).encode().decode(),
    }
