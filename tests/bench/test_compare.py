import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli import bench
from bench.compare import NotComparable, change, compared, trimmed_mean


def noisy(middle: float, count: int, spread: float, seed: int) -> list[float]:
    """Ratios as they are measured on a shared machine: some percent of noise, and now and then a wild one."""
    draw = random.Random(seed)
    return [middle * draw.gauss(1, spread) * (1.5 if draw.random() < 0.05 else 1) for _ in range(count)]


def peers_result(ratio: float, seed: int, errors: dict[str, str] | None = None) -> dict[str, Any]:
    ratios = noisy(ratio, 25, 0.03, seed)
    found = {"nginx": {"ratios": [1.0] * 25}, "causeway": {"ratios": ratios}}
    for failed in errors or {}:
        found.pop(failed, None)
    work = {"reference": "nginx", "errors": errors or {}, "peers": found}
    return {"kind": "peers", "machine": {"cpu": "x"}, "works": {"keep-alive": work}}


def load_result(
    rate: float, p99: float, seed: int, errors: dict[str, int] | None = None, *, mode: str = "closed"
) -> dict[str, Any]:
    rates, latencies = noisy(rate, 20, 0.02, seed), noisy(p99, 20, 0.02, seed + 1)
    timeline = [
        {"at": n / 2, "throughput": r, "p50_ms": 1.0, "p99_ms": ms, "cpu": r * 1e-5}
        for n, (r, ms) in enumerate(zip(rates, latencies, strict=True))
    ]
    asked = {"mode": mode}
    return {"kind": "load", "machine": {}, "errors": errors or {}, "timeline": timeline, "asked": asked}


def verdicts(before: dict[str, Any], after: dict[str, Any], bound: float = 0.03) -> dict[str, str]:
    return {each.what: each.verdict(bound) for each in compared(before, after, random.Random(1))}


@pytest.mark.parametrize("seed", range(10))
def test_five_percent_more_cpu_is_found(seed: int) -> None:
    found = verdicts(peers_result(0.66, seed), peers_result(0.66 * 1.05, seed + 100), bound=0.02)
    assert found == {"keep-alive: causeway, CPU per request": "regression"}


@pytest.mark.parametrize("seed", range(10))
def test_the_same_is_no_regression(seed: int) -> None:
    assert "regression" not in verdicts(peers_result(0.66, seed), peers_result(0.66, seed + 100)).values()


def test_less_is_better() -> None:
    assert set(verdicts(peers_result(0.7, 1), peers_result(0.6, 2)).values()) == {"better"}


def test_a_work_that_fails_now_is_a_regression() -> None:
    assert verdicts(peers_result(0.7, 1), peers_result(0.7, 2, {"causeway": "it died"})) == {
        "keep-alive: causeway": "regression"
    }


def test_load_results() -> None:
    assert verdicts(load_result(1000, 5, 1), load_result(900, 5, 2))["throughput"] == "regression"
    assert verdicts(load_result(1000, 5, 1), load_result(1250, 6, 2)) == {
        "throughput": "better", "latency p50": "same", "latency p99": "regression", "CPU per request": "same",
    }  # fmt: skip
    assert verdicts(load_result(1000, 5, 1), load_result(1000, 5, 2, {"timeout": 3}))["errors"] == "regression"
    open_loop = load_result(1000, 5, 1, mode="open"), load_result(900, 5, 2, mode="open")
    assert "throughput" not in verdicts(*open_loop)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = 0
    for seed in range(60):
        found = change("x", noisy(1.0, 15, 0.04, seed), noisy(1.1, 15, 0.04, seed + 1000), random.Random(seed))
        held += found.low <= 0.1 <= found.high
    assert held >= 48  # 95 % of 60 would be 57; a bootstrap of 15 is somewhat too sure of itself


def test_a_wild_value_moves_little() -> None:
    assert trimmed_mean([1, 1, 1, 1, 100]) == 1
    assert trimmed_mean([2.0]) == 2


def test_what_cannot_be_compared() -> None:
    with pytest.raises(NotComparable, match="'load'"):
        compared(load_result(1, 1, 1), peers_result(1, 1), random.Random(1))
    with pytest.raises(NotComparable, match="in common"):
        compared({**peers_result(1, 1), "works": {}}, peers_result(1, 1), random.Random(1))


def test_the_command_exits_1_on_a_regression(tmp_path: Path) -> None:
    for name, ratio in (("a", 0.66), ("b", 0.75)):
        (tmp_path / f"{name}.json").write_text(json.dumps(peers_result(ratio, 3)))
    (tmp_path / "c.json").write_text("{}")
    files = [str(tmp_path / f"{name}.json") for name in "abc"]
    run = CliRunner().invoke
    assert run(bench, ["compare", files[0], files[0]]).exit_code == 0
    worse = run(bench, ["compare", files[0], files[1], "--bound", "5%"])
    assert (worse.exit_code, "regression" in worse.output) == (1, True)
    assert run(bench, ["compare", files[0], files[1], "--bound", "20%"]).exit_code == 0
    told = json.loads(run(bench, ["compare", files[1], files[0], "--json"]).output)
    assert [each["verdict"] for each in told] == ["better"]
    assert run(bench, ["compare", files[0], files[2]]).exit_code == 2
    assert run(bench, ["compare", files[0], files[1], "--bound", "many"]).exit_code == 2
