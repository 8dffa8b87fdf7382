"""Rounds: every proxy does the same work for a moment, in random order, again and again; ratios within each round.

The machine is shared and its speed drifts, so an absolute time means little. A ratio to a peer measured a second before
or after means something, and the median of many means more. A round in which somebody else used the cores is thrown
away, for all proxies alike.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hdrh.histogram import HdrHistogram
from msgspec.structs import replace

from bench.load.arrivals import parse_profile
from bench.load.result import HIGHEST_US
from bench.load.run import Plan, RunFailed, run
from bench.load.scenario import Scenario
from bench.peers.process import Peer, PeerFailed
from bench.peers.work import Work


@dataclass(frozen=True, slots=True)
class Sample:
    """One proxy in one round. CPU in microseconds per answer; `histogram` as in a load result."""

    peer: str
    cpu_us: float
    user_share: float
    requests_per_second: float
    latency_ms: dict[str, float]
    errors: dict[str, int]
    memory_bytes: int
    histogram: str = ""


@dataclass
class Rounds:
    """All that was measured for one work. `errors`: proxies that failed on the way; they have no figures."""

    work: Work
    kept: list[dict[str, Sample]] = field(default_factory=list)
    rejected: int = 0
    errors: dict[str, str] = field(default_factory=dict)

    def summary(self, reference: str) -> dict[str, Any]:
        """By peer: medians, and the ratio of CPU per request to the reference's in the same round, with quartiles."""
        names = [peer for peer in (self.kept[0] if self.kept else ()) if peer not in self.errors]
        return {peer: self._of(peer, reference) for peer in names}

    def _of(self, peer: str, reference: str) -> dict[str, Any]:
        samples = [each[peer] for each in self.kept]
        ratios = [each[peer].cpu_us / each[reference].cpu_us for each in self.kept]
        return {
            "cpu_us": round(statistics.median(each.cpu_us for each in samples), 2),
            "cpu_us_min": round(min(each.cpu_us for each in samples), 2),
            "user_share": round(statistics.median(each.user_share for each in samples), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_quartiles": [round(value, 3) for value in quartiles(ratios)],
            "ratios": [round(value, 4) for value in ratios],
            "requests_per_second": round(statistics.median(each.requests_per_second for each in samples)),
            "p99_ms": round(statistics.median(each.latency_ms["p99"] for each in samples), 3),
            "memory_mib": round(max(each.memory_bytes for each in samples) / (1 << 20), 1),
            "errors": sum(sum(each.errors.values()) for each in samples),
            "rounds": len(samples),
            "samples": [
                {
                    "cpu_us": round(each.cpu_us, 3),
                    "requests_per_second": round(each.requests_per_second),
                    "p50_ms": each.latency_ms["p50"],
                    "p99_ms": each.latency_ms["p99"],
                    "memory_mib": round(each.memory_bytes / (1 << 20), 2),
                }
                for each in samples
            ],
            "histogram_us": merged([each.histogram for each in samples]),
        }


def merged(histograms: Sequence[str]) -> str:
    """One encoded histogram of all of them; "" for none."""
    made = HdrHistogram(1, HIGHEST_US, 3)
    for text in filter(None, histograms):
        made.decode_and_add(text)
    return str(made.encode().decode()) if made.get_total_count() else ""


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0])
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """How a work is measured: so many undisturbed rounds, each proxy loaded for so long in each."""

    rounds: int
    seconds: float
    seed: int
    foreign_max: float = 0.1
    """A round in which others used more than this share of the machine is rejected."""
    load_cpu: int | None = 0
    rate: int = 0
    """Requests a second that are meant to be sent (open loop); 0: as many as are answered."""


async def measure(
    work: Work, peers: Sequence[Peer], endpoint: Peer, bursts: Bursts, *, told: Callable[[str], None] = lambda _: None
) -> Rounds:
    """Measure until enough rounds are kept or too many were rejected. A peer that dies or errs has an error and
    takes no further part. Raises PeerFailed when nothing could be measured."""
    order = list(peers)
    draw = random.Random(bursts.seed)
    found = Rounds(work)
    while order and len(found.kept) < bursts.rounds and found.rejected <= bursts.rounds:
        draw.shuffle(order)
        before, started = _busy_ns(), time.monotonic_ns()
        own = _own_ns([*peers, endpoint])
        samples: dict[str, Sample] = {}
        for peer in list(order):
            try:
                samples[peer.name] = await _burst(work, peer, bursts)
            except PeerFailed as error:
                found.errors[peer.name] = str(error)
                told(f"{work.name}: {error}")
                order.remove(peer)
        elapsed = time.monotonic_ns() - started
        foreign = (_busy_ns() - before - (_own_ns([*peers, endpoint]) - own)) / (elapsed * (os.cpu_count() or 1))
        if foreign > bursts.foreign_max:
            found.rejected += 1
            told(f"{work.name}: round rejected, others used {foreign:.0%} of the machine")
        else:
            found.kept.append(samples)
            told(f"{work.name}: " + ", ".join(f"{s.peer} {s.cpu_us:.1f} us" for s in samples.values()))
    endpoint.require_alive()
    if not found.kept:
        raise PeerFailed(f"{work.name}: every round was disturbed by other load on this machine")
    return found


async def _burst(work: Work, peer: Peer, bursts: Bursts) -> Sample:
    plan = Plan(
        duration_seconds=bursts.seconds,
        connections=work.connections,
        seed=bursts.seed,
        cpus=() if bursts.load_cpu is None else (bursts.load_cpu,),
        pieces=parse_profile(str(bursts.rate), bursts.seconds) if bursts.rate else (),
    )
    peer.require_alive()
    # Checks cost the generator time; what the answers are was verified before, statuses are counted here.
    bare = without_checks(work.scenario(peer.port))
    cpu_before, split_before = peer.cpu_ns(), peer.cpu_split()
    try:
        result = await run(bare, plan)
    except RunFailed as error:
        raise PeerFailed(f"{peer.name} on {work.name}: {error}") from None
    used, split = peer.cpu_ns() - cpu_before, peer.cpu_split()
    peer.require_alive()
    answered = result["requests"]
    # On a schedule, what was still due at the end is no proxy's failure.
    if not answered or result["errors"].keys() - ({"unsent"} if bursts.rate else set()):
        raise PeerFailed(f"{peer.name} on {work.name}: {answered} answers, errors {result['errors']}: {peer.said()}")
    user, system = split[0] - split_before[0], split[1] - split_before[1]
    return Sample(
        peer.name, used / answered / 1000, user / max(1, user + system), result["throughput"], result["latency_ms"],
        result["errors"], peer.memory_bytes(), result["histogram_us"],
    )  # fmt: skip


def without_checks(scenario: Scenario) -> Scenario:
    return replace(scenario, requests=tuple(replace(each, expect=None) for each in scenario.requests))


def _busy_ns() -> int:
    """CPU time of the whole machine that was not idle, since boot."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, irq, soft, steal = map(int, fields[:8])
    return (user + nice + system + irq + soft + steal) * (10**9 // os.sysconf("SC_CLK_TCK"))


def _own_ns(peers: Sequence[Peer]) -> int:
    """CPU time of all that belongs to the measurement: proxies, endpoint, generators (our children that ended)."""
    times = os.times()
    children = (times.children_user + times.children_system + times.user + times.system) * 10**9
    return int(children) + sum(peer.cpu_ns() for peer in peers)
