"""Fixtures shared by all tests: real network namespaces, and the switch for the real cluster."""

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: makes network namespaces")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--e2e", action="store_true", help="run tests/e2e on a real Kubernetes cluster (root, Go)")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "netns: uses network namespaces; needs root")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not IS_ROOT and ("netns" in getattr(item, "fixturenames", ()) or item.get_closest_marker("netns")):
            item.add_marker(pytest.mark.skip(reason="needs root: makes network namespaces"))


@dataclass(frozen=True)
class NetNs:
    """A network namespace kept alive by a sleeping process; it has lo up and nothing else."""

    name: str
    holder_pid: int

    @property
    def path(self) -> Path:
        return Path(f"/proc/{self.holder_pid}/ns/net")

    def argv(self, *argv: str) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a command inside; its standard output. Fails the test if it fails, unless check is False."""
        done = subprocess.run(self.argv(*argv), input=stdin, text=True, capture_output=True, timeout=30)
        if check:
            assert done.returncode == 0, f"{self.name}: {' '.join(argv)} failed: {done.stderr.strip() or done.stdout}"
        return done.stdout

    def popen(self, *argv: str, **kwargs: object) -> "subprocess.Popen[str]":
        return subprocess.Popen(self.argv(*argv), text=True, **kwargs)  # type: ignore[call-overload,no-any-return]

    def connect(self, interface: str, other: "NetNs", other_interface: str) -> None:
        """Join two namespaces by a veth pair, both ends up."""
        self.run(
            "ip", "link", "add", interface, "type", "veth",
            "peer", "name", other_interface, "netns", str(other.holder_pid),
        )  # fmt: skip
        self.run("ip", "link", "set", interface, "up")
        other.run("ip", "link", "set", other_interface, "up")


@pytest.fixture
def netns() -> Iterator[Callable[..., NetNs]]:
    """A maker of network namespaces: netns("client"). They end with the test."""
    with namespaces() as make:
        yield make


@contextlib.contextmanager
def namespaces() -> Iterator[Callable[..., NetNs]]:
    """The same for fixtures of a wider scope.

    No names under /run/netns: when the holder dies the kernel frees everything, so a crashed test run leaves nothing.
    """
    holders: list[subprocess.Popen[bytes]] = []

    def make(name: str = "ns") -> NetNs:
        holder = subprocess.Popen(
            ["unshare", "--net", "--kill-child", "sh", "-c", "echo ready; exec sleep 900"],
            stdout=subprocess.PIPE,
        )
        holders.append(holder)
        assert holder.stdout is not None
        holder.stdout.readline()  # "ready": the namespace exists from here on
        made = NetNs(name, holder.pid)
        made.run("ip", "link", "set", "lo", "up")
        return made

    try:
        yield make
    finally:
        for holder in holders:
            holder.kill()
            holder.wait()
