import os
import subprocess
import sys
from pathlib import Path

import pytest

from causeway.demo.layout import MARK, Layout
from causeway.demo.run_folder import RunFolder, Running


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(f"t{os.getpid()}", run=tmp_path)


def test_one_at_a_time(layout: Layout) -> None:
    first = RunFolder(layout)
    first.acquire()
    with pytest.raises(Running, match=str(os.getpid())):
        RunFolder(layout).acquire()
    first.remove()
    assert not layout.folder.exists()
    again = RunFolder(layout)
    again.acquire()
    again.remove()


def test_a_demo_that_was_killed_lets_go(layout: Layout) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from causeway.demo.layout import Layout; from causeway.demo.run_folder import RunFolder\n"
        "folder = RunFolder(Layout(sys.argv[1], Path(sys.argv[2]))); folder.acquire(); folder.make()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, layout.name, str(layout.run)], check=False)
    assert done.returncode == -9
    folder = RunFolder(layout)
    folder.acquire()
    assert folder.leftovers() == [str(layout.folder)]
    folder.sweep()
    assert folder.leftovers() == []
    folder.remove()


def test_only_marked_processes_are_ended(layout: Layout) -> None:
    sleep = [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(60)"]
    kinds = {"ours": layout.name, "another's": f"{layout.name}x", "nobody's": None}
    started = {}
    for kind, mark in kinds.items():
        environment = {**os.environ, **({MARK: mark} if mark else {})}
        started[kind] = subprocess.Popen(sleep, env=environment, stdout=subprocess.PIPE)
        stdout = started[kind].stdout
        assert stdout is not None
        assert stdout.readline() == b"up\n"
    try:
        folder = RunFolder(layout)
        folder.acquire()
        assert folder.leftovers() == ["1 processes"]
        folder.remove()
        assert started["ours"].wait(timeout=5) != 0
        assert started["another's"].poll() is None
        assert started["nobody's"].poll() is None
    finally:
        for process in started.values():
            process.kill()
            process.communicate()
