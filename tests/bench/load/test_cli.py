import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import native
from bench.cli import bench

LINE = '192.0.2.1 - - [21/Nov/2026:10:00:0{} +0000] "GET /{} HTTP/1.1" 200 1 "-" "-"\n'


def run(*argv: str) -> Result:
    return CliRunner().invoke(bench, ["load", *argv])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "access.log").write_text(
        "".join(LINE.format(second, number) for second in (0, 1) for number in range(5))
    )
    return tmp_path / "access.log"


def test_a_log_is_replayed_from_the_command_line_and_from_a_scenario(log: Path, tmp_path: Path) -> None:
    with native.endpoint() as (port, _):
        done = run(f"http://127.0.0.1:{port}", "--replay", str(log), "--speed", "4", "--json", "-")
        assert json.loads(done.output)["requests"] == 10
        target = f"target: http://127.0.0.1:{port}\nanswered_by: X-Endpoint\n"
        (tmp_path / "s.yaml").write_text(target + "replay: {log: access.log, speed: 4, expect_status: true}\n")
        result = json.loads(run("--scenario", str(tmp_path / "s.yaml"), "--json", "-").output)
        assert (result["requests"], result["errors"], result["answered_by"]) == (10, {}, {str(port): 10})


def test_a_run_for_a_person() -> None:
    with native.endpoint() as (port, pid):
        done = run(f"127.0.0.1:{port}", "--duration", "300ms", "--rate", "100", "--watch", str(pid))
    assert done.exit_code == 0
    assert "30 answers of 30 asked for" in done.output
    assert "p99.99" in done.output


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ((), "either a URL or --scenario"),
        (("http://192.0.2.1/",), "allow"),
        (("127.0.0.1", "--replay", "LOG", "--rate", "5"), "use --speed"),
        (("127.0.0.1", "--replay", "LOG", "--think", "1s"), "--think belongs"),
        (("127.0.0.1", "--replay", "LOG", "--speed", "0"), "replay.speed"),
        (("127.0.0.1", "--replay", "LOG", "--processes", "30"), "number of requests"),
        (("127.0.0.1", "--metrics", "9100"), "HOST:PORT"),
        (("127.0.0.1", "--watch", "999999999"), "no process 999999999"),
        (("127.0.0.1", "--rate", "fast"), "not a rate"),
        (("127.0.0.1", "--header", "x"), "NAME: VALUE"),
    ],
)
def test_wrong_flags_say_what_is_right(argv: tuple[str, ...], why: str, log: Path) -> None:
    done = run(*(str(log) if each == "LOG" else each for each in argv))
    assert done.exit_code == 2
    assert why in " ".join(done.output.split())
