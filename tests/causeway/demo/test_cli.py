"""The demo as a whole, as it is typed; its kernel state is all in namespaces of its own name."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from causeway.cli import main
from causeway.demo import netns, processes
from causeway.demo.layout import Layout

CAUSEWAY = [sys.executable, "-m", "causeway"]


@pytest.fixture
def name() -> Iterator[str]:
    made = f"t{os.getpid()}"
    yield made
    subprocess.run([*CAUSEWAY, "demo", "--name", made, "clean"], capture_output=True, check=False, timeout=60)


def nothing_left(name: str) -> bool:
    layout = Layout(name)
    traces = (layout.folder.exists(), layout.hosts_folder.exists())
    return not any(traces) and not netns.names(layout.prefix) and not processes.marked(name)


@pytest.mark.netns
@pytest.mark.timeout(150)
def test_the_whole_path(name: str) -> None:
    done = subprocess.run(
        [*CAUSEWAY, "demo", "--name", name, "--check"], capture_output=True, text=True, timeout=140, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) of (\d+) checks passed", done.stdout)
    assert counted is not None
    assert counted[1] == counted[2]
    assert int(counted[2]) > 20
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert nothing_left(name)


@pytest.mark.netns
def test_killed_at_once_and_cleaned_up(name: str) -> None:
    layout = Layout(name)
    process = subprocess.Popen([*CAUSEWAY, "demo", "--name", name], stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: (layout.logs / "node1.log").exists())
        second = subprocess.run([*CAUSEWAY, "demo", "--name", name], capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"running already (process {process.pid})" in second.stderr
    finally:
        process.kill()
        process.wait()
    assert netns.names(layout.prefix)
    # The kernel ends them with the demo; a moment may pass.
    wait_for(lambda: not processes.marked(name))
    done = subprocess.run(
        [*CAUSEWAY, "demo", "--name", name, "clean"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "network namespaces" in done.stdout
    assert nothing_left(name)


@pytest.mark.netns
def test_interrupted(name: str) -> None:
    with subprocess.Popen([*CAUSEWAY, "demo", "--name", name], stdout=subprocess.PIPE, text=True) as process:
        wait_for(lambda: (Layout(name).logs / "node1.log").exists())
        process.terminate()
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out.endswith("Clearing up.\n")
    assert nothing_left(name)


def wait_for(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["--name", "a-b"], 2, "a letter first"),
        (["--manifests", "/nowhere"], 2, "does not exist"),
        (["--name", "nobody", "scale", "web", "3"], 1, "no demo is running"),
        (["--name", "nobody", "scale", "web", "-1"], 2, "-1"),
    ],
)
def test_wrong_use(argv: list[str], status: int, says: str) -> None:
    done = CliRunner().invoke(main, ["demo", *argv])
    assert (done.exit_code, says in done.output) == (status, True), done.output


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(main, ["demo"])
    assert done.exit_code == 1
    assert "needs root" in done.output


def test_scale_edits_the_manifest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Layout, "manifests", tmp_path)
    text = "kind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 3\n"
    (tmp_path / "shop.yaml").write_text(text)
    done = CliRunner().invoke(main, ["demo", "scale", "web", "5"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "shop.yaml").read_text() == text.replace("3", "5")
    done = CliRunner().invoke(main, ["demo", "scale", "desk", "5"])
    assert done.exit_code == 1
    assert "no Deployment desk" in done.output
