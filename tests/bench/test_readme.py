"""Figures in bench/README.md are generated from bench/results/, never typed; what it names exists."""

import json
import re
from pathlib import Path

import bench
from bench.report.markdown import EMPTY, filled

FOLDER = Path(bench.__file__).parent
README = FOLDER / "README.md"


def test_the_tables_are_those_of_the_results() -> None:
    results = {path.stem: json.loads(path.read_text()) for path in (FOLDER / "results").glob("*.json")}
    text = README.read_text()
    assert filled(text, results) == text, "run: causeway bench report bench/results/*.json --readme bench/README.md"
    for name in results:
        assert f"<!-- results: {name} -->" in text


def test_what_the_readme_names_exists() -> None:
    for name in re.findall(r"`([\w/]+\.(?:py|pyx|pxi|c|yaml))`", README.read_text()):
        assert (FOLDER / name).exists(), name


def test_a_table_takes_the_place_of_the_last_one() -> None:
    result = {
        "kind": "scenarios", "scenarios": {"idle": {"about": "x", "figures": {"bytes": 240}}},
        "machine": {"date": "d", "cpu": "c", "cores": 2, "kernel": "6", "python": "3.11", "causeway": "1"},
    }  # fmt: skip
    text = "a\n<!-- results: scenarios -->\nold\n<!-- end -->\nb\n"
    once = filled(text, {"scenarios": result})
    assert "| idle | bytes | 240 |" in once
    assert "d, c, 2 cores" in once
    assert "old" not in once
    assert filled(once, {"scenarios": result}) == once
    assert EMPTY in filled(once, {})
