"""What all VIPs with the same counts and policy share: their class. Pure.

A VIP's element in the map `vips` holds the number of its class, and each class in use has one chain. So there are
as many rules as there are different classes, not as many as there are Services.
"""

import re
from enum import Enum, IntEnum
from typing import NamedTuple

ENDPOINT_COUNT_MAX = 0xFFFFF
"""Endpoints of one VIP beyond a million are not used: their numbers are needed for other things."""


class Kind(IntEnum):
    """Which way of reaching a Service, under which traffic policy."""

    INTERNAL = 0
    """A ClusterIP."""
    INTERNAL_LOCAL = 1
    """A ClusterIP with internalTrafficPolicy: Local."""
    EXTERNAL = 2
    """NodePort, load-balancer address, external IP."""
    EXTERNAL_LOCAL = 3
    """The same with externalTrafficPolicy: Local."""


class Source(Enum):
    """Where a packet comes from, as seen by this node."""

    POD = "pod"
    """A pod of this node. One of another node is OUTSIDE: its replies do not come back by way of this node."""
    NODE = "node"
    """An address of this node itself."""
    OUTSIDE = "outside"


class Choice(Enum):
    """What becomes of the first packet of a connection to a VIP."""

    CLUSTER = "any endpoint"
    LOCAL = "an endpoint on this node"
    REFUSE = "refused"
    DROP = "dropped"


class Class(NamedTuple):
    kind: Kind
    cluster: int
    """How many endpoints there are in the cluster; for INTERNAL_LOCAL only 0 or 1, whether there are any."""
    local: int
    """How many of them are usable under the Local policy; 0 for a kind without it."""
    sticky_seconds: int = 0
    """How long a client keeps its endpoint (sessionAffinity: ClientIP); 0: not at all."""
    ranged: bool = False
    """Only sources in loadBalancerSourceRanges are let in."""

    @property
    def chain(self) -> str:
        """The name of its chain, which says all of it: `external-local-4-2-sticky-10800-ranged`."""
        parts = [self.kind.name.lower().replace("_", "-"), str(self.cluster)]
        if self.kind in (Kind.INTERNAL_LOCAL, Kind.EXTERNAL_LOCAL):
            parts.append(str(self.local))
        if self.sticky_seconds:
            parts += ["sticky", str(self.sticky_seconds)]
        if self.ranged:
            parts.append("ranged")
        return "-".join(parts)


_CHAIN = re.compile(
    r"(?:(internal-local|external-local)-(\d+)-(\d+)|(internal|external)-(\d+))(?:-sticky-(\d+))?(-ranged)?"
)


def class_of_chain(name: str) -> Class | None:
    """The reverse of `Class.chain`; None for a chain that is not a class's."""
    match = _CHAIN.fullmatch(name)
    if match is None:
        return None
    kind = Kind[(match[1] or match[4]).upper().replace("-", "_")]
    return Class(kind, int(match[2] or match[5]), int(match[3] or 0), int(match[6] or 0), match[7] is not None)


class Detection(NamedTuple):
    """How sources are told apart and treated on this node; part of the rules themselves."""

    pods_known: bool = True
    """Whether the node's pod addresses are known. If not, nothing sent to a ClusterIP is masqueraded."""
    masquerade_all: bool = False
    """Masquerade everything sent to a ClusterIP."""


DETECTION_DEFAULT = Detection()


class Decision(NamedTuple):
    choice: Choice
    masqueraded: bool = False


def decide(found: Class, source: Source, detection: Detection = DETECTION_DEFAULT) -> Decision:
    """What becomes of a packet to a VIP of this class. `layout.class_rules` says the same in rules.

    loadBalancerSourceRanges come before this and are not looked at here. A pod that reaches itself is masqueraded too.
    """
    from_pod = source is Source.POD and detection.pods_known
    if found.kind in (Kind.INTERNAL, Kind.INTERNAL_LOCAL):
        masqueraded = detection.masquerade_all or (detection.pods_known and not from_pod)
    else:
        masqueraded = True
    if found.cluster == 0 and found.local == 0:
        return Decision(Choice.REFUSE)
    if found.kind is Kind.INTERNAL_LOCAL or (
        found.kind is Kind.EXTERNAL_LOCAL and not from_pod and source is not Source.NODE
    ):
        if not found.local:
            return Decision(Choice.DROP)
        return Decision(Choice.LOCAL, masqueraded and found.kind is Kind.INTERNAL_LOCAL)
    if found.cluster == 0:
        return Decision(Choice.REFUSE)
    if found.kind is Kind.EXTERNAL_LOCAL and from_pod:
        masqueraded = False
    return Decision(Choice.CLUSTER, masqueraded)
