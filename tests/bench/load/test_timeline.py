from bench.load.result import Counts
from bench.load.timeline import Timeline, between


def test_what_came_between_two_reports() -> None:
    earlier = Counts(answers=10, histogram={5: 10}, errors={"reset": 1}, seconds=1.0, latency_sum_us=50)
    later = Counts(answers=30, histogram={5: 10, 9: 20}, errors={"reset": 3}, seconds=1.5, latency_sum_us=230)
    made = between(earlier, later)
    assert (made.answers, made.histogram, made.errors, made.seconds) == (20, {9: 20}, {"reset": 2}, 0.5)


def test_a_point_needs_every_process() -> None:
    timeline = Timeline(2)
    assert not timeline.heard(0, Counts(answers=5, seconds=0.5))
    assert not timeline.heard(0, Counts(answers=9, seconds=1.0))
    assert timeline.heard(1, Counts(answers=7, seconds=0.5), {"memory_mib": 3.0})
    assert timeline.heard(1, Counts(answers=20, seconds=1.0))
    assert [point["throughput"] for point in timeline.points] == [24, 34]
    assert timeline.points[0]["memory_mib"] == 3.0
    # The end follows the last report at once: no rate can be told from so little time.
    timeline.heard(0, Counts(answers=9, seconds=1.01))
    assert not timeline.heard(1, Counts(answers=20, seconds=1.01))
