"""The tables `causeway-services` (ip and ip6): sets, base chains, and the chains of a class. Pure.

    prerouting, output (nat, -100) -> services
      services   daddr . proto . dport -> map vips -> number of a class -> map classes -> goto the class's chain
                 a ClusterIP with another port: refused; an unallocated address of a Service CIDR: dropped
      <class>    source ranges, policy by source, masquerade bit -> goto pick-...
      pick-<n>   dnat to (daddr . proto . dport . random below n) in map endpoints
    postrouting (nat, 100)            masquerade what carries the bit, and a pod that reached itself

Everything is decided by the first packet of a connection, in nat chains: later packets meet no rule of ours.

A number found by one rule reaches the next in the packet's queueing priority. (One rule could do both look-ups, but
`nft list` 1.0.6 aborts on such a rule; and the packet's mark would be lost for routing policies that look at it.)
"""

import struct
from collections.abc import Iterator

from lb.nftables import expressions as e
from lb.nftables.expressions import IPV4, Family, Verdict
from lb.nftables.messages import (
    IPV4_ADDRESS,
    IPV6_ADDRESS,
    NUMBER,
    OUTPUT,
    PORT,
    POSTROUTING,
    PREROUTING,
    PROTOCOL,
    VERDICT,
    BaseHook,
    SetFlags,
    SetShape,
    Transaction,
)
from lb.service.classes import Class, Detection, Kind

TABLE = "causeway-services"
BASE_CHAINS = frozenset(("prerouting", "output", "postrouting", "services", "refuse"))
LAYOUT_VERSION = 1
"""Raised whenever the rules or sets of this module change: a table of another version is replaced as a whole."""

MASQUERADE_BIT = 0x4000
"""The packet mark's bit that asks for masquerade, cleared in postrouting: kube-proxy's, so others stay off it."""

AFFINITY_CLIENTS_MAX = 1 << 18
"""As many as the kernel's connection table has by default; beyond that new clients are spread at random."""

CLASS_BASE = 0x7CA00000
"""Class numbers start here: no packet carries such a number as its priority by chance."""

LOCAL_BASE = 0x40000000
"""Numbers of endpoints of the Local policy start here, those of the Cluster policy at 0."""

SLOT_BASE = 0x80000000
"""Added to both for a sticky VIP's slots: numbers that an endpoint keeps as long as it lives, unlike its index."""

_REMEMBERED = SetFlags.MAP | SetFlags.TIMEOUT | SetFlags.DYNAMIC
_NAT_DESTINATION, _NAT_SOURCE = -100, 100


COMMENT = f"causeway Services, layout {LAYOUT_VERSION}"
"""Kept at the table: tells a later agent whether it may go on with these sets, or has to replace the table."""


def shapes(family: Family) -> tuple[SetShape, ...]:
    """All sets and maps of the table."""
    address = IPV4_ADDRESS if family is IPV4 else IPV6_ADDRESS
    vip = (address, PROTOCOL, PORT)
    return (
        SetShape("vips", vip, (NUMBER,), SetFlags.MAP),
        SetShape("classes", (NUMBER,), (VERDICT,), SetFlags.MAP),
        SetShape("endpoints", (*vip, NUMBER), (address, PORT), SetFlags.MAP),
        SetShape("slots", (*vip, NUMBER), (NUMBER,), SetFlags.MAP),
        SetShape("affinity", (address, *vip), (NUMBER,), _REMEMBERED, AFFINITY_CLIENTS_MAX),
        SetShape("cluster-ips", (address,)),
        SetShape("service-cidrs", (address,), flags=SetFlags.INTERVAL),
        SetShape("local-pods", (address,), flags=SetFlags.INTERVAL),
        SetShape("hairpin", (address, address)),
        SetShape("source-ranges", (address, *vip), flags=SetFlags.INTERVAL | SetFlags.CONCATENATED_INTERVAL),
    )


def add_base(transaction: Transaction) -> None:
    """The whole table without any Service in it; what of it is there stays, and its base chains are written anew."""
    family = transaction.family
    transaction.add_table(COMMENT)
    for identity, shape in enumerate(shapes(family), 1):
        transaction.add_set(shape, identity)
    _add_empty(transaction, "refuse")
    transaction.add_rule("refuse", e.l4_protocol(0), e.compare(0, b"\x06"), e.reject_with_reset())
    transaction.add_rule("refuse", e.reject_with_icmp(family))
    _add_empty(transaction, "services")
    transaction.add_rule("services", *_vip(family, 0), e.map_value("vips", 0, 0), e.set_priority(0))
    transaction.add_rule("services", e.priority(0), e.map_verdict("classes", 0))
    transaction.add_rule(
        "services", e.destination(family, 0), e.in_set("cluster-ips", 0), e.verdict(Verdict.GOTO, "refuse")
    )
    transaction.add_rule("services", e.destination(family, 0), e.in_set("service-cidrs", 0), e.verdict(Verdict.DROP))
    for name, number in (("prerouting", PREROUTING), ("output", OUTPUT)):
        _add_empty(transaction, name, BaseHook("nat", number, _NAT_DESTINATION))
        transaction.add_rule(name, e.verdict(Verdict.JUMP, "services"))
    _add_postrouting(transaction)


def _add_postrouting(transaction: Transaction) -> None:
    family = transaction.family
    _add_empty(transaction, "postrouting", BaseHook("nat", POSTROUTING, _NAT_SOURCE))
    # A pod that reached itself would answer itself directly, with an address it never called.
    transaction.add_rule(
        "postrouting",
        e.connection_status(0), e.bitwise(0, e.CT_STATUS_DNAT, 0), e.compare(0, bytes(4), equal=False),
        e.source(family, 0), e.destination(family, family.address_registers), e.in_set("hairpin", 0),
        e.masquerade(),
    )  # fmt: skip
    bit = _number(MASQUERADE_BIT)
    transaction.add_rule(
        "postrouting",
        e.mark(0), e.bitwise(0, MASQUERADE_BIT, 0), e.compare(0, bit, equal=False), e.verdict(Verdict.RETURN),
    )  # fmt: skip
    transaction.add_rule("postrouting", e.mark(0), e.bitwise(0, 0xFFFFFFFF, MASQUERADE_BIT), e.set_mark(0))
    transaction.add_rule("postrouting", e.masquerade())


Pick = tuple[bool, int, int]
"""Among the local endpoints, how many there are, and sticky_seconds."""


def picks_of(found: Class) -> Iterator[Pick]:
    """The pick chains that the chain of a class goes to."""
    if found.cluster and found.kind is not Kind.INTERNAL_LOCAL:
        yield (False, found.cluster, found.sticky_seconds)
    if found.local:
        yield (True, found.local, found.sticky_seconds)


def pick_chain(pick: Pick) -> str:
    local, count, sticky = pick
    return f"pick-{'local-' if local else ''}{count}{f'-sticky-{sticky}' if sticky else ''}"


def add_pick(transaction: Transaction, pick: Pick) -> None:
    """The chain that chooses an endpoint and sends the connection there.

    Sticky: what is remembered of a client is its endpoint's slot. Indexes are dense and move when an endpoint goes, a
    slot is an endpoint's own; so a client keeps its endpoint whatever becomes of the others, and a slot that is empty
    means that the endpoint has gone: then the client is given another.
    """
    local, count, sticky = pick
    family, chain = transaction.family, pick_chain(pick)
    width = family.address_registers
    number = width + 2
    chosen = (*_vip(family, 0), e.random_below(count, number, offset=_base(local, sticky)))
    _add_empty(transaction, chain)
    if not sticky:
        transaction.add_rule(chain, *chosen, e.map_value("endpoints", 0, 0), e.dnat(family, 0, width))
        return
    client = (e.source(family, 0), *_vip(family, width))
    slot = 2 * width + 2
    to_slot = (*_vip(family, 0), e.priority(number), e.map_value("endpoints", 0, 0))
    remembered = (*client, e.priority(slot), e.remember("affinity", 0, slot, sticky * 1000))
    # nat ends the chain, so the priority is cleared in the same rule, from a register that nat does not read.
    onward = (e.number(0, slot), e.set_priority(slot), e.dnat(family, 0, width))
    transaction.add_rule(chain, *client, e.map_value("affinity", 0, 0), e.set_priority(0))
    # Only a slot of the policy in force: after a change of policy the client is given another endpoint.
    same = (e.priority(0), e.bitwise(0, SLOT_BASE | LOCAL_BASE, 0), e.compare(0, _number(_base(local, sticky))))
    transaction.add_rule(chain, *same, *remembered, *to_slot, *onward)
    transaction.add_rule(chain, *client, e.priority(slot), e.forget("affinity", 0, slot))
    transaction.add_rule(chain, *chosen, e.map_value("slots", 0, 0), e.set_priority(0))
    transaction.add_rule(chain, *remembered)
    transaction.add_rule(chain, *to_slot, *onward)


def _base(local: bool, sticky: int) -> int:
    return (LOCAL_BASE if local else 0) | (SLOT_BASE if sticky else 0)


def _number(value: int) -> bytes:
    return struct.pack("=I", value)


def add_class(transaction: Transaction, found: Class, number: int, detection: Detection) -> None:
    """The chain of a class and its element in `classes`. The pick chains it goes to must be there."""
    chain = found.chain
    _add_empty(transaction, chain)
    for rule in class_rules(transaction.family, found, detection):
        transaction.add_rule(chain, *rule)
    transaction.add_verdicts("classes", [(_number(number), Verdict.GOTO, chain)])


def class_rules(family: Family, found: Class, detection: Detection) -> Iterator[tuple[bytes, ...]]:
    """The rules of a class's chain; `classes.decide` says the same of one packet."""
    yield (e.number(0, 0), e.set_priority(0))
    if found.ranged:
        client = (e.source(family, 0), *_vip(family, family.address_registers))
        yield (*client, e.in_set("source-ranges", 0, inverted=True), e.verdict(Verdict.DROP))
    if not found.cluster and not found.local:
        yield (e.verdict(Verdict.GOTO, "refuse"),)
        return
    anywhere = e.verdict(Verdict.GOTO, pick_chain((False, found.cluster, found.sticky_seconds)))
    here = e.verdict(Verdict.GOTO, pick_chain((True, found.local, found.sticky_seconds)))
    if not found.local:
        here = e.verdict(Verdict.DROP)
    from_pod = (e.source(family, 0), e.in_set("local-pods", 0))
    if found.kind in (Kind.INTERNAL, Kind.INTERNAL_LOCAL):
        if detection.masquerade_all:
            yield _add_bit()
        elif detection.pods_known:
            yield (e.source(family, 0), e.in_set("local-pods", 0, inverted=True), *_add_bit())
        yield (here if found.kind is Kind.INTERNAL_LOCAL else anywhere,)
        return
    if found.kind is Kind.EXTERNAL:
        yield _add_bit()
        yield (anywhere,)
        return
    if detection.pods_known:
        yield (*from_pod, anywhere)
    from_node = (e.source_address_type(0), e.compare(0, e.LOCAL_ADDRESS))
    yield (*from_node, *_add_bit())
    yield (*from_node, anywhere)
    yield (here,)


def _add_empty(transaction: Transaction, chain: str, hook: BaseHook | None = None) -> None:
    # It may be there: from an earlier run, or left by an agent that was killed while it removed unused chains.
    transaction.add_chain(chain, hook)
    transaction.flush_chain(chain)


def _add_bit() -> tuple[bytes, ...]:
    return (e.mark(0), e.bitwise(0, 0xFFFFFFFF & ~MASQUERADE_BIT, MASQUERADE_BIT), e.set_mark(0))


def _vip(family: Family, first: int) -> tuple[bytes, ...]:
    """Load the packet's destination address, protocol and port, the key of `vips`."""
    width = family.address_registers
    return (e.destination(family, first), e.l4_protocol(first + width), e.destination_port(first + width + 1))
