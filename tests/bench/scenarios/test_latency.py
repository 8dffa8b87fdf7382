"""What is told of rounds at a fixed rate; and such rounds, with the floor for a proxy."""

from pathlib import Path

from bench.peers.configs import Place
from bench.peers.process import free_port, start, start_endpoint
from bench.peers.rounds import Bursts, Sample, measure
from bench.peers.work import work_named
from bench.scenarios.latency import told


def sample(name: str, cpu_us: float, p50: float, p99: float) -> Sample:
    return Sample(name, cpu_us, 0.3, 10_000.0, {"p50": p50, "p99": p99}, {}, 0)


def test_ratios_are_taken_within_rounds() -> None:
    rounds = [
        {"causeway": sample("causeway", 20, 0.1, 0.2), "nginx": sample("nginx", 40, 0.2, 0.8)},
        {"causeway": sample("causeway", 30, 0.2, 0.9), "nginx": sample("nginx", 40, 0.2, 1.0)},
        {"causeway": sample("causeway", 80, 0.8, 4.0), "nginx": sample("nginx", 90, 0.4, 8.0)},
    ]
    figures = told(rounds)
    assert figures["causeway, p99, ms"] == 0.9
    assert figures["nginx, p50, ms"] == 0.2
    assert figures["p50, ours to nginx's"] == 1.0
    assert figures["p99, ours to nginx's"] == 0.5
    assert figures["CPU, ours to nginx's"] == 0.75


async def test_a_rate_is_kept(tmp_path: Path) -> None:
    endpoint = start_endpoint(tmp_path / "endpoint", None)
    place = Place(str(tmp_path / "floor"), free_port(), endpoint.port, "", "")
    peer = start("floor", work_named("keep-alive"), place, None)
    bursts = Bursts(rounds=1, seconds=1.0, seed=1, foreign_max=1.0, load_cpu=None, rate=200)
    try:
        [found] = (await measure(work_named("keep-alive"), [peer], endpoint, bursts)).kept
    finally:
        peer.stop()
        endpoint.stop()
    assert found["floor"].requests_per_second <= 220
