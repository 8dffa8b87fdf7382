"""Announcing for real: a client and three nodes on one LAN, each node with its own announcer."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import NetNs
from tests.netns.announce_lan import FAIL_OVER_SECONDS_MAX, NODES, V4, V6, Lan, Ping, winner


@pytest.fixture
def lan(netns: Callable[..., NetNs], tmp_path: Path) -> Iterator[Lan]:
    made = Lan(netns, tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_exactly_one_node_answers(lan: Lan) -> None:
    for number, address in enumerate(V4):
        lan.write_service(f"web{number}", address)
    lan.write_service("six", V6)
    lan.start(*NODES)
    for address in [*V4, V6]:
        lan.wait_for(address, winner(address))
    assert len({winner(address) for address in V4}) > 1  # they are spread
    lan.client.run("ping", "-c", "1", "-W", "5", V4[0])  # the client's kernel believes our frames
    lan.client.run("ping", "-c", "1", "-W", "5", V6)
    lan.wait_until(lambda: lan.state(winner(V4[0]))["interfaces"])
    state = lan.state(winner(V4[0]))
    assert state["interfaces"] == ["eth0"]  # and not those of pods
    assert any(each["address"] == V4[0] and each["here"] for each in state["addresses"])  # type: ignore[attr-defined]
    for process in list(lan.agents):
        lan.stop(process, signal.SIGTERM)
    lan.wait_for(V4[0])


def test_a_node_dies(lan: Lan) -> None:
    """The cable of the holder is pulled and its agent killed: the client goes on at another node in about a second."""
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    second = winner(address, *(set(NODES) - {first}))
    lan.wait_for(address, first)
    ping = Ping(lan, address)
    lan.wait_until(lambda: lan.neighbour(address) == first)
    lan.nodes[first].run("ip", "link", "set", "eth0", "down")
    lan.stop(first, signal.SIGKILL)
    lan.wait_for(address, second)
    lan.wait_until(lambda: lan.neighbour(address) == second)
    dark_seconds = ping.end()
    print(f"without an answer for {dark_seconds:.2f} s")
    assert dark_seconds < FAIL_OVER_SECONDS_MAX
    # It comes back: its addresses, too.
    lan.nodes[first].run("ip", "link", "set", "eth0", "up")
    lan.start(first)
    lan.wait_for(address, first)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_only_the_agent_ends(lan: Lan, number: int) -> None:
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    second = winner(address, *(set(NODES) - {first}))
    lan.wait_for(address, first)
    ping = Ping(lan, address)
    start = time.monotonic()
    lan.stop(first, number)
    lan.wait_for(address, second)
    moved_seconds = time.monotonic() - start
    lan.start(first)
    lan.wait_for(address, first)
    # The node itself was there all the time: not a packet is lost, going and coming.
    assert ping.end() < 0.5
    assert moved_seconds < FAIL_OVER_SECONDS_MAX
    print(f"moved after {moved_seconds:.2f} s")


def test_one_that_does_not_hold_it_ends(lan: Lan) -> None:
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    lan.wait_for(address, first)
    for name in sorted(set(NODES) - {first}):
        lan.stop(name, signal.SIGKILL)
        lan.wait_for(address, first, for_seconds=1.5)  # longer than it takes to be missed


def test_the_policy_and_the_nodes_labels(lan: Lan) -> None:
    address = V4[0]
    first = winner(address)
    second = winner(address, *(set(NODES) - {first}))
    lan.write_service("web", address)
    lan.start(*NODES)
    lan.wait_for(address, first)
    lan.write_service("web", address, on=(second,), policy="Local")
    lan.wait_for(address, second)
    lan.write_service("web", address, on=())
    lan.wait_for(address)
    lan.write_service("web", address)
    lan.wait_for(address, first)
    lan.write_node(first, "{node.kubernetes.io/exclude-from-external-load-balancers: ''}")
    lan.wait_for(address, second)
    verdicts = lan.state(first)["addresses"]
    assert "exclude-from-external-load-balancers" in verdicts[0]["why_not_here"]  # type: ignore[index]


def test_a_cable_is_out_for_a_while(lan: Lan) -> None:
    """The agent runs on, alone: it must not fight, and must be heard of by the client when it is back."""
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    second = winner(address, *(set(NODES) - {first}))
    lan.wait_for(address, first)
    lan.client.run("ping", "-c", "1", "-W", "5", address)
    lan.nodes[first].run("ip", "link", "set", "eth0", "down")
    lan.wait_for(address, second)
    lan.nodes[first].run("ip", "link", "set", "eth0", "up")
    lan.wait_for(address, first)
    lan.wait_until(lambda: lan.neighbour(address) == first)
    lan.client.run("ping", "-c", "1", "-W", "5", address)


def test_another_machine_claims_the_address(lan: Lan) -> None:
    """A stranger's gratuitous ARP misleads the client only until the node has spoken again."""
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    lan.wait_for(address, first)
    lan.client.run("ping", "-c", "1", "-W", "5", address)
    lan.wait_until(lambda: lan.state(first)["conflicts"] == 0)
    time_of_burst_seconds = 6  # during its own burst the node speaks anyway
    lan.wait_for(address, first, for_seconds=time_of_burst_seconds)
    stranger = next(name for name in NODES if name != first)
    lan.nodes[stranger].run("arping", "-q", "-c", "1", "-A", "-I", "eth0", "-s", address, address)
    lan.wait_until(lambda: "is also claimed by" in lan.log(first))
    lan.wait_until(lambda: lan.neighbour(address) == first)


def test_a_quick_restart_moves_nothing(lan: Lan) -> None:
    address = V4[0]
    lan.write_service("web", address)
    lan.start(*NODES)
    first = winner(address)
    lan.wait_for(address, first)
    others = sorted(set(NODES) - {first})
    lan.wait_until(lambda: all("answering ARP and NDP" in lan.log(name) for name in others))
    before = {name: lan.log(name) for name in others}
    began = time.monotonic()
    lan.stop(first, signal.SIGKILL)
    lan.start(first)
    lan.wait_until(lambda: lan.log(first).count(f"{address} is announced by {first}") == 2)
    if time.monotonic() - began > 0.9:
        pytest.skip("this machine took longer to start it than a node may be silent")
    for name in others:
        assert lan.log(name) == before[name]
    lan.wait_for(address, first)
