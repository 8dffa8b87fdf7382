"""What the agent does besides the network: its lock, its parts that fail, its flags."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lb import agent
from lb.agent import CannotStart, keep_running, locked
from lb.cli import node
from tests.conftest import needs_root


def test_one_agent_for_one_run_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "run"):
        with pytest.raises(CannotStart, match=f"process {os.getpid()}"), locked(tmp_path / "new" / "run"):
            pass
        with locked(tmp_path / "other"):
            pass
    with locked(tmp_path / "new" / "run"):
        pass


def test_the_lock_ends_with_the_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, lb.agent\n"
        "with lb.agent.locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(CannotStart, match=f"process {process.pid}"), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):
        pass


def test_a_run_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="--run-dir"), locked(tmp_path / "file" / "run"):
        pass


async def test_a_part_that_fails_is_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agent, "RESTART_SECONDS_FIRST", 0.001)
    runs = 0
    third = asyncio.Event()

    async def part() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            third.set()
            await asyncio.sleep(60)
        raise RuntimeError("broken")

    with caplog.at_level(logging.ERROR):
        task = asyncio.create_task(keep_running("part", part))
        async with asyncio.timeout(10):
            await third.wait()
    task.cancel()
    assert "part failed" in caplog.text
    assert "broken" in caplog.text


GIVEN = ["--node", "n", "--run-dir", "/tmp/x", "--cni-bin-dir", "/tmp/x", "--cni-conf-dir", "/tmp/x"]


@pytest.mark.parametrize("flag", ["--node", "--run-dir", "--cni-bin-dir", "--cni-conf-dir"])
def test_missing_flags(flag: str) -> None:
    place = GIVEN.index(flag)
    done = CliRunner().invoke(node, GIVEN[:place] + GIVEN[place + 2 :])
    assert done.exit_code == 2
    assert f"Missing option '{flag}'" in done.output


def test_a_wrong_mode() -> None:
    done = CliRunner().invoke(node, [*GIVEN, "--pod-network", "ring"])
    assert done.exit_code == 2
    assert "'routed', 'bridge'" in done.output


@needs_root
def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(node, [*GIVEN, "-f", str(tmp_path / "absent")])
    assert done.exit_code == 2
    assert "absent" in done.output


def test_without_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(node, GIVEN)
    assert done.exit_code == 1
    assert "needs root" in done.output


@needs_root
def test_a_run_folder_too_long_for_a_socket(tmp_path: Path) -> None:
    flags = [*GIVEN, "-f", str(tmp_path)]
    flags[flags.index("--run-dir") + 1] = str(tmp_path / ("x" * 100))
    code = "from lb.cli import node; node()"
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "too long for the path of a unix socket" in done.stderr
