"""Planted truths: a server whose delays are known to the millisecond, and what the generator reports of it.

Other work on the machine can only add latency, so a run that misses is repeated; one that was undisturbed must hit.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from bench import native
from bench.load.arrivals import parse_profile
from bench.load.run import Plan, run
from bench.load.scenario import Scenario

TRIES = 4


async def undisturbed(measure: Callable[[], Awaitable[None]]) -> None:
    for attempt in range(TRIES):
        try:
            return await measure()
        except AssertionError:
            if attempt == TRIES - 1:
                raise
    return None


async def loaded(port: int, rate: str, seconds: float, **more: Any) -> dict[str, Any]:
    plan = Plan(duration_seconds=seconds, pieces=parse_profile(rate, seconds), **more)
    return await run(Scenario(target=f"http://127.0.0.1:{port}"), plan)


@pytest.mark.parametrize("poisson", [False, True], ids=["constant", "poisson"])
async def test_every_hundredth_answer_200_ms_late(poisson: bool) -> None:
    async def measure() -> None:
        with native.endpoint("every=100", "late_ms=200") as (port, _):
            result = await loaded(port, "1000", 2, connections=64, poisson=poisson)
        assert result["errors"] == {}
        recorded = HdrHistogram.decode(result["histogram_us"])
        late = sum(item.count_added_in_this_iter_step for item in recorded.get_recorded_iterator()
                   if item.value_iterated_to > 150_000)  # fmt: skip
        assert late == result["requests"] // 100  # not one more, not one less
        assert result["latency_ms"]["p99.9"] == pytest.approx(200, rel=0.01)
        assert recorded.get_value_at_percentile(99.5) / 1000 == pytest.approx(200, rel=0.01)
        assert result["latency_ms"]["p90"] < 10

    await undisturbed(measure)


async def test_a_stall_of_two_seconds() -> None:
    """Open loop, 500/s: the 1000 requests due during the stall wait from 2 s down to 0, evenly."""

    async def measure() -> None:
        with native.endpoint("stall_after_ms=1000", "stall_ms=2000") as (port, _):
            result = await loaded(port, "500", 5, connections=16)
        assert (result["requests"], result["errors"]) == (2500, {})
        latency = result["latency_ms"]
        # 2 s and the 10 ms in which the server looks whether it is time.
        assert latency["max"] == pytest.approx(2000, rel=0.01)
        assert latency["p99"] == pytest.approx(2000 - 0.01 * 2500 * 2, rel=0.01)  # 25 waited longer, one every 2 ms
        assert latency["p90"] == pytest.approx(2000 - 0.1 * 2500 * 2, rel=0.01)
        assert latency["p50"] < 20

    await undisturbed(measure)


async def test_the_time_line_shows_when() -> None:
    with native.endpoint("stall_after_ms=1000", "stall_ms=1000") as (port, pid):
        result = await loaded(port, "200", 3, connections=8, processes=2, watch_pid=pid)
    timeline = result["timeline"]
    assert [point["at"] for point in timeline] == sorted(point["at"] for point in timeline)
    stalled = [point for point in timeline if 1.4 < point["at"] < 2.1]
    assert min(point["throughput"] for point in stalled) < 50
    assert sum(
        p["throughput"] * (p["at"] - q["at"]) for p, q in zip(timeline, [{"at": 0.0}, *timeline], strict=False)
    ) == (pytest.approx(600, rel=0.05))
    assert all(0.1 < point["memory_mib"] < 100 for point in timeline)
