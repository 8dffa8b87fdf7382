import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hdrh.histogram import HdrHistogram

from bench.cli import bench
from bench.report import markdown, svg
from bench.report.page import page


def histogram() -> str:
    made = HdrHistogram(1, 3_600_000_000, 3)
    for value in range(100, 100_000, 37):
        made.record_value(value)
    return str(made.encode().decode())


def peer(ratio: float) -> dict[str, Any]:
    samples = [{"cpu_us": 30 * ratio, "requests_per_second": 1000, "p50_ms": 1, "p99_ms": 2, "memory_mib": 9}] * 3
    return {
        "cpu_us": 30 * ratio, "cpu_us_min": 20 * ratio, "user_share": 0.2, "ratio": ratio, "ratios": [ratio] * 3,
        "ratio_quartiles": [ratio - 0.02, ratio + 0.03], "requests_per_second": 1000, "p99_ms": 2.0, "memory_mib": 9.0,
        "errors": 0, "rounds": 3, "samples": samples, "histogram_us": histogram(),
    }  # fmt: skip


def peers_result(ratio: float = 0.66, date: str = "2026-01-01") -> dict[str, Any]:
    work = {
        "about": "small <requests>", "errors": {"caddy": "it <died>"}, "reference": "nginx", "rejected": 1,
        "peers": {"nginx": peer(1), "causeway": peer(ratio)},
    }  # fmt: skip
    return {
        "kind": "peers",
        "machine": {"date": date, "cpu": "x"},
        "versions": {"nginx": "1.26"},
        "works": {"small": work},
    }


def load_result() -> dict[str, Any]:
    latency = {"mean": 1.0, "p50": 1.0, "p90": 2.0, "p99": 3.0, "p99.9": 4.0, "p99.99": 5.0, "max": 6.0}
    timeline = [{"at": n / 2, "throughput": 100 * n, "errors": 0, "p50_ms": n, "p99_ms": 2 * n} for n in range(1, 9)]
    return {
        "kind": "load", "requests": 5, "errors": {"timeout": 1}, "latency_ms": latency, "throughput": 5.0,
        "asked": {"target": "http://127.0.0.1:1", "mode": "closed", "connections": 3, "duration_seconds": 4.0},
        "timeline": timeline, "histogram_us": histogram(),
    }  # fmt: skip


def scenarios_result() -> dict[str, Any]:
    idle = {"about": "many", "figures": {"bytes per connection": 240, "share": 0.25}}
    return {
        "kind": "scenarios",
        "machine": {},
        "scenarios": {"idle": idle, "cni": {"about": "x", "skipped": "needs root"}},
    }


def whole(results: list[tuple[str, dict[str, Any]]]) -> str:
    text = page(results)
    # HTML that is XML, too, is easily checked: nothing is left open.
    ET.fromstring(re.sub(r"<!doctype html>|<meta [^>]*>", "", text).replace("&nbsp;", " "))
    return text


def test_a_page_needs_no_other_file() -> None:
    text = whole([("a", peers_result()), ("b", load_result()), ("c", scenarios_result())])
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://(?!127)", text)
    assert "it &lt;died&gt;" in text
    assert "0.66 · 19.8 µs" in text
    assert "needs root" in text
    assert text.count("<svg") == 7


def test_several_results_are_drawn_over_their_dates() -> None:
    text = whole([("new", peers_result(0.6, "2026-02-01")), ("old", peers_result(0.7, "2026-01-01"))])
    assert "Over versions" in text
    assert text.index("<li>old") < text.index("<li>new")
    assert "Over versions" not in whole([("new", peers_result())])


def test_markdown() -> None:
    assert markdown.table(peers_result()).splitlines()[2] == (
        "| small | **0.66** (0.64-0.69), 20 µs | **1.00** (0.98-1.03), 30 µs | 3 |"
    )
    assert "| idle | bytes per connection | 240 |" in markdown.table(scenarios_result())
    assert "| cni | not measured | needs root |" in markdown.table(scenarios_result())
    assert markdown.table(load_result()).splitlines()[2].startswith("| 5 | 5 | 1 | 1.000 |")


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.9], ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([12_345], ["0", "2,500", "5,000", "7,500", "10,000", "12,500"]),
        ([0], ["0"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], texts: list[str]) -> None:
    assert [text for _, text in svg.linear("", values).ticks][: len(texts)] == texts


def test_nines_are_equally_far_apart() -> None:
    axis = svg.percentiles(99.9)
    nine, two, three = (axis.place(each) for each in (90, 99, 99.9))
    assert two - nine == pytest.approx(three - two)
    assert three == pytest.approx(1)


def test_the_command(tmp_path: Path) -> None:
    import json

    (tmp_path / "r.json").write_text(json.dumps(peers_result()))
    done = CliRunner().invoke(bench, ["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "r.html")])
    assert done.exit_code == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert "| small |" in CliRunner().invoke(bench, ["report", str(tmp_path / "r.json")]).output
