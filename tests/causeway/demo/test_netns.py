"""Sockets and settings in namespaces of our own, by name."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from causeway.demo import netns
from causeway.demo.topology import Batch

pytestmark = pytest.mark.netns


@pytest.fixture
def name() -> Iterator[str]:
    made = f"t{os.getpid()}-netns"
    subprocess.run(["ip", "netns", "add", made], check=True)
    yield made
    netns.delete([made])


def test_a_socket_stays_inside_and_we_do_not(name: str) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    # Everything is down in there, loopback too, so nothing can be reached.
    with netns.open_socket(name, netns.STREAM) as made, pytest.raises(OSError, match="unreachable"):
        made.connect(("127.0.0.1", 9))
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_we_come_home_even_if_it_fails_inside(name: str) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(FileNotFoundError), netns.inside(name):
        Path("/nowhere").read_text()
    assert os.readlink("/proc/thread-self/ns/net") == home


def test_a_setting_of_the_namespace_alone(name: str) -> None:
    path = Path("/proc/sys/net/ipv4/ip_forward")
    before = path.read_text()
    netns.set_sysctl(name, "net/ipv4/ip_forward", "1")
    assert path.read_text() == before
    with netns.inside(name):
        assert path.read_text() == "1\n"


async def test_commands(name: str) -> None:
    await netns.apply(Batch(name, ("link set lo up", "address add 192.0.2.1/32 dev lo")))
    shown = await netns.must(netns.argv_in(name, ["ip", "-brief", "address", "show", "lo"]))
    assert "192.0.2.1/32" in shown
    with pytest.raises(netns.CommandFailed, match="batch"):
        await netns.apply(Batch(name, ("link set nothing up",)))
    done = await netns.run(["sleep", "10"], timeout=0.05)
    assert (done.status, done.err) == (124, "no end after 0.05 s")


def test_deleting_what_is_not_there(name: str) -> None:
    netns.delete([name, name, f"{name}-never"])
    assert netns.names(name) == []
