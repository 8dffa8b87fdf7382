import pytest

from bench.peers.rounds import Rounds, Sample, quartiles
from bench.peers.work import WORKS, Work, varied, work_named


def sample(peer: str, cpu_us: float, rate: float = 100.0) -> Sample:
    return Sample(peer, cpu_us, 0.2, rate, {"p50": cpu_us, "p99": cpu_us}, {}, 1 << 20)


def test_a_ratio_is_taken_within_the_round() -> None:
    # The machine is twice as slow in the second round; the ratio does not move.
    found = Rounds(Work("w", "", ()), [{n: sample(n, us) for n, us in each.items()} for each in (
        {"nginx": 20.0, "causeway": 10.0}, {"nginx": 40.0, "causeway": 20.0}, {"nginx": 30.0, "causeway": 18.0},
    )])  # fmt: skip
    summary = found.summary("nginx")
    assert summary["causeway"]["ratio"] == 0.5
    assert summary["causeway"]["ratios"] == [0.5, 0.5, 0.6]
    assert summary["causeway"]["cpu_us"] == 18.0
    assert summary["nginx"]["ratio"] == 1.0


def test_quartiles_of_little() -> None:
    assert quartiles([3.0]) == (3.0, 3.0)
    assert quartiles([1.0, 2.0, 3.0]) == (1.5, 2.5)


def test_works_are_found_by_name() -> None:
    assert work_named("varied").requests == varied()
    with pytest.raises(KeyError, match="keep-alive"):
        work_named("fast")


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.name)
def test_every_request_has_a_route(work: Work) -> None:
    hosts = set(work.host_names())
    for request in work.requests:
        assert request.host in hosts
        assert any(request.path.startswith(prefix) for prefix in work.prefixes)
