"""Which nodes are alive, from the heartbeats that were heard.

Pure: the time is an argument (seconds of a clock that never goes back). Node conditions of the API server lag by tens
of seconds, so the agents tell each other directly, several times a second:

* a node that is not heard for `SILENT_PERIODS` of its own period is dead: about a second for up to 100 nodes;
* a node that leaves on purpose says so, and is gone at once;
* a node counts only once it says it is ready; that an agent is started anew and is not ready yet does not take the
  readiness of the one before it back until that one would be dead, so a quick restart moves nothing;
* if we ourselves were stopped for a while (a suspended machine, a busy loop), that time is not held against the others.
"""

from collections.abc import Mapping, Set

import msgspec

PERIOD_SECONDS = 0.3
SILENT_PERIODS = 3.5
"""Three heartbeats in a row may be lost."""
SETTLE_PERIODS = 2.0
"""How long a node that has just started waits to hear the others."""
BEATS_PER_SECOND_MAX = 330.0
"""A node sends at most this many, and hears as many; with more than 100 nodes the period grows."""


def period_for(nodes: int) -> float:
    """Seconds between two heartbeats of a node in a cluster of this many."""
    return max(PERIOD_SECONDS, nodes / BEATS_PER_SECOND_MAX)


class Beat(msgspec.Struct, frozen=True, tag="causeway-beat-1", tag_field="type", forbid_unknown_fields=False):
    """One heartbeat, a JSON object in one UDP datagram."""

    node: str
    run: int
    """Differs from one start of an agent to the next; grows unless the clock went back."""
    sequence: int
    period_seconds: float
    """When the next one follows; so nodes need not agree on how many they are."""
    ready: bool = False
    leaving: bool = False
    asks: bool = False
    """The sender has just started: answer at once."""


def encode(beat: Beat) -> bytes:
    return msgspec.json.encode(beat)


def decode(datagram: bytes) -> Beat | None:
    """None if it is not a heartbeat of a version we speak, or makes no sense."""
    try:
        beat = msgspec.json.decode(datagram, type=Beat)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return beat if 0.01 <= beat.period_seconds <= 60 else None


class _Peer:
    __slots__ = ("alive_until", "ready_until", "run", "sequence")

    def __init__(self, beat: Beat) -> None:
        self.run = beat.run
        self.sequence = -1
        self.alive_until = self.ready_until = float("-inf")


class Peers:
    """What this node has heard of the others."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._peers: dict[str, _Peer] = {}
        self._seen: float | None = None

    def heard(self, beat: Beat, source: str, addresses: Mapping[str, Set[str]], now: float) -> bool:
        """Take a heartbeat in; False if it is not to be believed.

        addresses: the InternalIPs of every Node; a heartbeat must come from one of the node it names.
        """
        if beat.node == self._me or source not in addresses.get(beat.node, ()):
            return False
        peer = self._peers.get(beat.node)
        if peer is None or (beat.run != peer.run and (beat.run > peer.run or peer.alive_until <= now)):
            new = _Peer(beat)
            if peer is not None:
                new.ready_until = peer.ready_until
            peer = self._peers[beat.node] = new
        if beat.run != peer.run or beat.sequence <= peer.sequence:
            return False  # overtaken on the way by a later one
        peer.sequence = beat.sequence
        if beat.leaving:
            peer.alive_until = peer.ready_until = now
            return True
        peer.alive_until = now + beat.period_seconds * SILENT_PERIODS
        if beat.ready:
            peer.ready_until = peer.alive_until
        return True

    def ready(self, now: float) -> frozenset[str]:
        """The other nodes that may announce."""
        return frozenset(name for name, peer in self._peers.items() if peer.ready_until > now)

    def heard_all(self, names: Set[str]) -> bool:
        """Has each of these been heard since we started?"""
        return all(name in self._peers for name in names if name != self._me)

    def silence(self, name: str, now: float) -> str:
        """What is known of a peer, for people."""
        peer = self._peers.get(name)
        if peer is None:
            return "never heard"
        if peer.ready_until > now:
            return "ready"
        return "heard, not ready yet" if peer.alive_until > now else "silent"

    def next_deadline(self, now: float) -> float | None:
        """When the next peer will be missed if it is not heard before."""
        return min((peer.ready_until for peer in self._peers.values() if peer.ready_until > now), default=None)

    def tick(self, now: float, expected_seconds: float) -> bool:
        """To be called at least every `expected_seconds`; if it was not, nobody is blamed. True: we were stopped."""
        gap = 0.0 if self._seen is None else now - self._seen
        self._seen = now
        stopped = gap > 2 * expected_seconds
        if stopped:
            for peer in self._peers.values():
                if peer.alive_until > now - gap:
                    peer.alive_until += gap
                if peer.ready_until > now - gap:
                    peer.ready_until += gap
        return stopped

    def forget(self, names: Set[str]) -> None:
        """Keep only these: the rest are no Nodes any more."""
        for name in self._peers.keys() - names:
            del self._peers[name]
