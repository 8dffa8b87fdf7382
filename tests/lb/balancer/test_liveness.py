"""Who is alive, minute by minute: the clock is an argument."""

from collections.abc import Iterable

import pytest

from lb.balancer.liveness import PERIOD_SECONDS, SILENT_PERIODS, Beat, Peers, decode, encode, period_for

ADDRESSES = {"a": frozenset({"10.0.0.1"}), "b": frozenset({"10.0.0.2", "fd00::2"}), "c": frozenset({"10.0.0.3"})}
DEAD = PERIOD_SECONDS * SILENT_PERIODS


def beat(node: str = "b", sequence: int = 1, run: int = 100, **more: bool) -> Beat:
    more.setdefault("ready", True)
    return Beat(node, run, sequence, PERIOD_SECONDS, **more)


def hear(peers: Peers, now: float, each: Beat, source: str = "10.0.0.2") -> bool:
    return peers.heard(each, source, ADDRESSES, now)


def heard(*beats: tuple[float, Beat]) -> Peers:
    peers = Peers("a")
    for now, each in beats:
        hear(peers, now, each)
    return peers


@pytest.mark.parametrize(
    ("beats", "now", "alive"),
    [
        pytest.param([], 0, False, id="never heard"),
        pytest.param([(0, beat())], 0.1, True, id="just heard"),
        pytest.param([(0, beat())], DEAD - 0.01, True, id="three lost"),
        pytest.param([(0, beat())], DEAD + 0.01, False, id="silent"),
        pytest.param([(0, beat()), (1, beat(sequence=2))], DEAD + 0.9, True, id="heard again"),
        pytest.param([(0, beat(ready=False))], 0.1, False, id="not ready yet"),
        pytest.param([(0, beat(ready=False)), (0.2, beat(sequence=2))], 0.3, True, id="ready now"),
        pytest.param([(0, beat()), (0.1, beat(sequence=2, leaving=True))], 0.2, False, id="leaves"),
        pytest.param(
            [(0, beat()), (0.1, beat(sequence=3, leaving=True)), (0.2, beat(sequence=2))], 0.3, False,
            id="a beat overtaken by the farewell",
        ),
        pytest.param(
            [(0, beat()), (0.5, beat(sequence=1, run=200, ready=False))], 0.9, True, id="a quick restart moves nothing"
        ),
        pytest.param(
            [(0, beat()), (0.5, beat(sequence=1, run=200, ready=False))], DEAD + 0.1, False,
            id="unless it does not become ready in time",
        ),
        pytest.param(
            [(0, beat(sequence=9)), (DEAD + 1, beat(sequence=1, run=50))], DEAD + 1.1, True,
            id="back with a clock that went back",
        ),
        pytest.param(
            [(0, beat(sequence=9)), (0.1, beat(sequence=99, run=50, leaving=True))], 0.2, True,
            id="a late farewell of an earlier run",
        ),
    ],
)  # fmt: skip
def test_alive(beats: Iterable[tuple[float, Beat]], now: float, alive: bool) -> None:
    assert heard(*beats).ready(now) == (frozenset("b") if alive else frozenset())


@pytest.mark.parametrize(
    ("each", "source", "believed"),
    [
        (beat(), "10.0.0.2", True),
        (beat(), "fd00::2", True),
        (beat(), "10.0.0.3", False),  # another node's address
        (beat(), "192.0.2.66", False),
        (beat(node="x"), "10.0.0.2", False),  # no such Node
        (beat(node="a"), "10.0.0.1", False),  # ourselves
    ],
)
def test_a_heartbeat_must_come_from_the_node_it_names(each: Beat, source: str, believed: bool) -> None:
    peers = Peers("a")
    assert hear(peers, 0, each, source) is believed
    assert bool(peers.ready(0.1)) is believed


def test_when_we_were_stopped_nobody_is_blamed() -> None:
    peers = heard((0, beat()))
    assert not peers.tick(0.0, PERIOD_SECONDS)
    assert not peers.tick(0.3, PERIOD_SECONDS)
    assert peers.tick(60.3, PERIOD_SECONDS)
    assert peers.ready(60.3)
    assert not peers.ready(60.3 + DEAD)
    # Not heard for a while before: that still counts.
    assert not peers.tick(60.6, PERIOD_SECONDS)


def test_the_dead_stay_dead_over_a_stop() -> None:
    peers = heard((0, beat()))
    for tenths in range(0, 30, 3):
        peers.tick(tenths / 10, PERIOD_SECONDS)
    assert not peers.ready(2.7)
    peers.tick(60, PERIOD_SECONDS)
    assert not peers.ready(60)


def test_the_deadline_is_that_of_the_first_to_be_missed() -> None:
    peers = heard((0, beat()))
    peers.heard(beat("c"), "10.0.0.3", ADDRESSES, 0.2)
    assert peers.next_deadline(0.3) == pytest.approx(DEAD)
    assert peers.next_deadline(DEAD + 0.1) == pytest.approx(DEAD + 0.2)
    assert peers.next_deadline(DEAD + 0.3) is None


def test_heard_all_and_forget() -> None:
    peers = heard((0, beat()))
    assert peers.heard_all({"a", "b"})
    assert not peers.heard_all({"a", "b", "c"})
    peers.forget({"a", "c"})
    assert not peers.ready(0.1)


def test_the_period_grows_with_the_cluster() -> None:
    assert period_for(3) == period_for(90) == PERIOD_SECONDS
    assert period_for(1000) == pytest.approx(3.03, abs=0.01)


def test_on_the_wire() -> None:
    each = beat(asks=True)
    assert decode(encode(each)) == each
    assert len(encode(each)) < 512


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[1]",
        encode(beat()).replace(b"causeway-beat-1", b"causeway-beat-9"),
        encode(beat()).replace(b"0.3", b"1e9"),
        encode(beat()).replace(b"0.3", b"-1"),
        encode(beat())[:-1],
    ],
)
def test_other_datagrams_are_ignored(datagram: bytes) -> None:
    assert decode(datagram) is None
