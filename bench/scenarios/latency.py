"""What a request waits for at a rate that leaves the proxy time: ours and nginx, in turn."""

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.native import Unavailable
from bench.peers.compare import make_certificate, shuffled_seed, start_all
from bench.peers.process import start_endpoint
from bench.peers.rounds import Bursts, Rounds, Sample, measure
from bench.peers.work import work_named
from bench.scenarios import Finding, ScenarioFailed

PEERS = ("causeway", "nginx")
RATE = 10_000


def latency(full: bool) -> Finding:
    """Rounds of both in random order, one worker each; a round in which others used the machine does not count."""
    work = work_named("keep-alive")
    bursts = Bursts(rounds=15 if full else 5, seconds=2.0, seed=shuffled_seed(), rate=RATE)
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="causeway-bench-", dir="/dev/shm") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        make_certificate(folder)
        endpoint = start_endpoint(folder / "endpoint", 0)
        try:
            peers, errors = start_all(work, PEERS, folder, endpoint.port, left_out=left_out)
            try:
                if left_out:
                    raise Unavailable("; ".join(left_out.values()))
                found = asyncio.run(measure(work, peers, endpoint, bursts)) if not errors else Rounds(work)
            finally:
                for peer in peers:
                    peer.stop()
        finally:
            endpoint.stop()
    if errors or found.errors:
        raise ScenarioFailed("; ".join((errors | found.errors).values()))
    return Finding({"requests a second": RATE, **told(found.kept), "rounds": len(found.kept)})


def told(rounds: list[dict[str, Sample]]) -> dict[str, Any]:
    """Medians over rounds; ratios within them."""
    figures: dict[str, Any] = {}
    for name in PEERS:
        samples = [each[name] for each in rounds]
        for which in ("p50", "p99"):
            middle = statistics.median(sample.latency_ms[which] for sample in samples)
            figures[f"{name}, {which}, ms"] = round(middle, 3)
        figures[f"{name}, CPU per request, us"] = round(statistics.median(sample.cpu_us for sample in samples), 1)
    ours, theirs = PEERS
    for which in ("p50", "p99"):
        ratios = [each[ours].latency_ms[which] / each[theirs].latency_ms[which] for each in rounds]
        figures[f"{which}, ours to nginx's"] = round(statistics.median(ratios), 2)
    ratios = [each[ours].cpu_us / each[theirs].cpu_us for each in rounds]
    figures["CPU, ours to nginx's"] = round(statistics.median(ratios), 2)
    return figures
