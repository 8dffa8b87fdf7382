import random

import pytest
from hdrh.histogram import HdrHistogram

from bench.load import engine
from bench.load.result import HIGHEST_US, Counts, latency_ms, report, total, value_us


def test_the_engine_and_hdr_agree_on_buckets() -> None:
    """value_us is the upper edge of a bucket: recording it must land on the same value in HdrHistogram's eyes."""
    reference = HdrHistogram(1, HIGHEST_US, 3)
    for index in [*range(5000), 10_000, 15_000, 20_000]:
        assert value_us(index) == engine.value_at(index)
        if value_us(index):
            assert reference.get_highest_equivalent_value(value_us(index)) == value_us(index)


def test_percentiles_are_those_of_the_values() -> None:
    draw = random.Random(4)
    values = sorted(int(draw.expovariate(1 / 20_000)) + 1 for _ in range(20_000))
    counts = Counts(answers=len(values), longest_us=values[-1], latency_sum_us=float(sum(values)))
    index_of: dict[int, int] = {}
    index = 0
    for value in values:
        while value_us(index) < value:
            index += 1
        index_of[index] = index_of.get(index, 0) + 1
    counts.histogram = index_of
    found = latency_ms(counts)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        assert found[name] == pytest.approx(values[int(len(values) * share) - 1] / 1000, rel=0.005)
    assert found["max"] == values[-1] / 1000
    assert found["mean"] == pytest.approx(sum(values) / len(values) / 1000, abs=1e-3)


def test_processes_add_up() -> None:
    one = Counts(sends=3, answers=2, longest_us=5, errors={"reset": 1}, statuses={200: 2}, histogram={4: 2})
    two = Counts(sends=1, answers=1, longest_us=9, statuses={200: 1}, histogram={4: 1}, answered_by={"a": 1})
    assert total([one, two]) == Counts(
        sends=4, answers=3, longest_us=9, errors={"reset": 1}, statuses={200: 3}, histogram={4: 3}, answered_by={"a": 1}
    )


def test_a_run_without_an_answer_is_no_division_by_zero() -> None:
    result = report(Counts(sends=1, errors={"timeout": 1}), {}, 1.0)
    assert result["requests"] == 0
    assert result["errors"] == {"timeout": 1}
    assert set(result["latency_ms"].values()) == {0.0}


def test_refusals_and_failed_checks_are_errors() -> None:
    result = report(Counts(answers=5, failed_checks=2, statuses={200: 2, 404: 1, 503: 2}), {}, 1.0)
    assert result["errors"] == {"status": 3, "check": 2}
