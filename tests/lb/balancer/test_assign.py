"""`causeway balancer -f DIR` as a process, over a real folder: statuses written, kept over its death, given back."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

DEADLINE_SECONDS = 15.0
Start = Callable[..., "subprocess.Popen[str]"]


def write(folder: Path, name: str, **spec: object) -> None:
    spec.setdefault("type", "LoadBalancer")
    document = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], **spec},
    }
    new = folder / f".{name}.new"
    new.write_text(yaml.safe_dump(document))
    new.rename(folder / f"{name}.yaml")


def status(folder: Path, name: str) -> list[str] | None:
    """The addresses in a Service's status; None if nothing was written for it."""
    try:
        found = yaml.safe_load((folder / ".status" / f"Service.default.{name}.yaml").read_text())
    except FileNotFoundError:
        return None
    return [each["ip"] for each in found["status"]["loadBalancer"].get("ingress", ())]


def wait_for(folder: Path, **expected: list[str] | None) -> None:
    until = time.monotonic() + DEADLINE_SECONDS
    while (found := {name: status(folder, name) for name in expected}) != expected:
        assert time.monotonic() < until, f"{found}, expected {expected}"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(*pools: str) -> "subprocess.Popen[str]":
        flags = [part for pool in pools or ("p=192.0.2.1-192.0.2.2",) for part in ("--pool", pool)]
        command = [sys.executable, "-m", "causeway", "balancer", "-f", str(tmp_path), *flags]
        started.append(subprocess.Popen(command, text=True, stderr=subprocess.PIPE))
        return started[-1]

    yield run
    for each in started:
        each.kill()
        each.communicate()


def test_addresses_come_and_go_with_the_services(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "b")
    write(tmp_path, "c")
    running = start()
    wait_for(tmp_path, b=["192.0.2.1"], c=["192.0.2.2"])
    write(tmp_path, "a")
    write(tmp_path, "other", loadBalancerClass="somebody.example/else")
    write(tmp_path, "b", type="ClusterIP")
    wait_for(tmp_path, a=["192.0.2.1"], b=[], c=["192.0.2.2"], other=None)
    write(tmp_path, "b")
    (tmp_path / "c.yaml").unlink()
    wait_for(tmp_path, a=["192.0.2.1"], b=["192.0.2.2"], c=None)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0


def test_nothing_moves_when_it_is_killed(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "b")
    running = start()
    wait_for(tmp_path, b=["192.0.2.1"])
    running.kill()
    running.wait(10)
    write(tmp_path, "a")  # before b in any order
    start()
    wait_for(tmp_path, a=["192.0.2.2"], b=["192.0.2.1"])


def test_there_is_one_at_a_time(tmp_path: Path, start: Start) -> None:
    write(tmp_path, "a")
    first = start()
    wait_for(tmp_path, a=["192.0.2.1"])
    second = start("q=198.51.100.1")
    _, said = second.communicate(timeout=15)
    assert second.returncode == 1
    assert f"process {first.pid}" in said
    assert status(tmp_path, "a") == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--pool", "x"], "'x': write NAME=FIRST-LAST"),
        (["--pool", "a=192.0.2.9-192.0.2.1"], "comes after"),
        ([], "Missing option '--pool'"),
    ],
)
def test_wrong_flags(tmp_path: Path, flags: list[str], said: str) -> None:
    command = [sys.executable, "-m", "causeway", "balancer", "-f", str(tmp_path), *flags]
    done = subprocess.run(command, text=True, capture_output=True, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr
