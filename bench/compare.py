"""Has it become slower? Two results held against each other, with confidence intervals.

A figure of a peers result is a ratio to the reference proxy within a round; rounds are the sample. A load result is
cut into its half seconds; they are the sample. What is compared is the mean of the logarithms without the outermost
fifth on either side, and its interval comes from the bootstrap: both samples drawn anew many times. The change is told
as a share: +0.05 is 5 % more. Pure; randomness is an argument.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

DRAWS = 4000
TRIM = 0.2
CONFIDENCE = 0.95
SAMPLE_MIN = 3


class Draw(Protocol):
    """A source of randomness, as random.Random is one."""

    def choices(self, population: Sequence[float], *, k: int) -> list[float]: ...


class NotComparable(ValueError):
    """The two results have nothing in common; the text says what they are."""


@dataclass(frozen=True, slots=True)
class Change:
    """How one figure has changed from A to B: by `share`, which lies within [`low`, `high`]."""

    what: str
    share: float
    low: float
    high: float
    more_is_better: bool = False
    note: str = ""

    @property
    def worse_by(self) -> float:
        return -self.share if self.more_is_better else self.share

    def verdict(self, bound: float) -> str:
        """regression: worse by more than `bound`, and not by chance. better: the same the other way."""
        if self.note:
            return "regression"
        by_chance = self.low <= 0 <= self.high
        if by_chance or abs(self.share) <= bound:
            return "same" if abs(self.share) <= bound else "unsure"
        return "regression" if self.worse_by > 0 else "better"


def compared(before: dict[str, Any], after: dict[str, Any], draw: Draw) -> list[Change]:
    """All figures that both results have, and what failed in `after` alone. Raises NotComparable."""
    kinds = {before.get("kind"), after.get("kind")}
    if kinds == {"peers"}:
        changes = list(_peers(before, after, draw))
    elif kinds == {"load"}:
        changes = list(_load(before, after, draw))
    else:
        raise NotComparable(f"the first is a result of {before.get('kind')!r}, the second of {after.get('kind')!r}")
    if not changes:
        raise NotComparable("the two results have no figure in common that was measured often enough")
    return changes


def _peers(before: dict[str, Any], after: dict[str, Any], draw: Draw) -> Iterator[Change]:
    for name, work in before["works"].items():
        other = after["works"].get(name)
        if other is None:
            continue
        for peer, found in work.get("peers", {}).items():
            if peer in other["errors"] or "run" in other["errors"]:
                why = other["errors"].get(peer, other["errors"].get("run", ""))
                yield Change(f"{name}: {peer}", math.inf, math.inf, math.inf, note=f"failed: {why}")
            elif (
                peer in other.get("peers", {}) and peer != work["reference"] and work["reference"] == other["reference"]
            ):
                now = other["peers"][peer]
                if min(len(found["ratios"]), len(now["ratios"])) >= SAMPLE_MIN:
                    yield change(f"{name}: {peer}, CPU per request", found["ratios"], now["ratios"], draw)


def _load(before: dict[str, Any], after: dict[str, Any], draw: Draw) -> Iterator[Change]:
    if sum(after["errors"].values()) and not sum(before["errors"].values()):
        yield Change("errors", math.inf, math.inf, math.inf, note=f"errors: {after['errors']}")
    series = [_series(before), _series(after)]
    if before["asked"]["mode"] == after["asked"]["mode"] == "open":
        # The rate is what was asked for; only what could not be kept up would show.
        series = [{name: values for name, values in each.items() if name != "throughput"} for each in series]
    for name, old in series[0].items():
        new = series[1].get(name, [])
        if min(len(old), len(new)) >= SAMPLE_MIN:
            yield change(name, old, new, draw, more_is_better=name == "throughput")


def _series(result: dict[str, Any]) -> dict[str, list[float]]:
    """What the half seconds of a load result tell; without the first, in which connections are made."""
    points = [point for point in result["timeline"][1:] if point["throughput"] > 0]
    found = {
        "throughput": [point["throughput"] for point in points],
        "latency p50": [point["p50_ms"] for point in points if point["p50_ms"] > 0],
        "latency p99": [point["p99_ms"] for point in points if point["p99_ms"] > 0],
    }
    busy = [point for point in points if point.get("cpu")]
    if busy:
        found["CPU per request"] = [point["cpu"] / point["throughput"] for point in busy]
    return found


def change(
    what: str, old: Sequence[float], new: Sequence[float], draw: Draw, *, more_is_better: bool = False
) -> Change:
    """The change from one sample of positive numbers to another, with its interval."""
    before, after = [math.log(value) for value in old], [math.log(value) for value in new]
    drawn = sorted(
        trimmed_mean(draw.choices(after, k=len(after))) - trimmed_mean(draw.choices(before, k=len(before)))
        for _ in range(DRAWS)
    )
    low, high = (drawn[round((DRAWS - 1) * at)] for at in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    middle = trimmed_mean(after) - trimmed_mean(before)
    return Change(what, math.expm1(middle), math.expm1(low), math.expm1(high), more_is_better)


def trimmed_mean(values: Sequence[float]) -> float:
    """The mean without the outermost fifth on either side: a few disturbed rounds move it little."""
    cut = int(len(values) * TRIM)
    kept = sorted(values)[cut : len(values) - cut]
    return sum(kept) / len(kept)
