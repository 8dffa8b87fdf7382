"""UDP flows whose endpoint has gone: a client that keeps sending from one port would stay on it for ever. Shell.

nf_conntrack by netlink (linux/netfilter/nfnetlink_conntrack.h). Only flows to the VIPs that have changed are looked at.
"""

import errno
import struct
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from lb.nftables.attributes import attribute, nested, parsed, u8, u32
from lb.nftables.netfilter import NetfilterError, NetfilterSocket
from lb.service.elements import endpoint_data, vip_of_key
from lb.service.plan import TablePlan

_SUBSYSTEM, _GET, _DELETE = 1, 1, 2
_REQUEST, _DUMP, _ACK = 0x1, 0x300, 0x4
_ORIGINAL, _REPLY, _ID, _FILTER = 1, 2, 12, 25
_FILTER_DESTINATION, _FILTER_PROTOCOL, _FILTER_DESTINATION_PORT = 1 << 1, 1 << 3, 1 << 5
_UDP = 17

_FILTERED_MAX = 16
"""Each filtered dump walks the kernel's whole table; for more VIPs one unfiltered dump costs less."""


class Flow(NamedTuple):
    destination: bytes
    """What the client called, as `elements.vip_key`."""
    answered_by: bytes
    """Who answers, as `elements.endpoint_data`."""
    original: bytes
    identity: bytes


def forget_stale_flows(kernel: NetfilterSocket, plans: Collection[TablePlan], vips: Sequence[bytes]) -> int:
    """Delete UDP flows to these VIPs (keys) that a no longer serving endpoint answers; how many that were.

    A flow from before the VIP was served is one too. A flow to a VIP that is no more is deleted if it was translated.
    """
    allowed: dict[bytes, set[bytes]] = {}
    for key in vips:
        found = next((plan.placed[key] for plan in plans if key in plan.placed), None)
        serving = found.wanted.endpoints.serving if found else ()
        allowed[key] = {data for each in serving if (data := endpoint_data(each))}
        if found is None:
            allowed[key].add(_itself(key))
    forgotten = 0
    for flow in list(_flows(kernel, vips)):
        if flow.destination in allowed and flow.answered_by not in allowed[flow.destination]:
            forgotten += _forget(kernel, flow)
    return forgotten


def _itself(key: bytes) -> bytes:
    return key[:-8] + key[-4:]


def _flows(kernel: NetfilterSocket, vips: Sequence[bytes]) -> Iterator[Flow]:
    if len(vips) <= _FILTERED_MAX:
        for key in vips:
            yield from _dump(kernel, _family(key), _filter(key))
    else:
        for family in sorted({_family(key) for key in vips}):
            yield from _dump(kernel, family, b"")


def _family(key: bytes) -> int:
    return 2 if vip_of_key(key).address.version == 4 else 10


def _filter(key: bytes) -> bytes:
    """Kernels before 5.8 do not know it and answer with everything, which is looked through as well."""
    ip_kind = 2 if _family(key) == 2 else 4
    flags = _FILTER_DESTINATION | _FILTER_PROTOCOL | _FILTER_DESTINATION_PORT
    return nested(
        _ORIGINAL,
        nested(1, attribute(ip_kind, key[:-8])),
        nested(2, u8(1, _UDP), attribute(3, key[-4:-2])),
    ) + nested(_FILTER, attribute(1, struct.pack("=I", flags)), attribute(2, struct.pack("=I", 0)))  # fmt: skip


def _dump(kernel: NetfilterSocket, family: int, wanted: bytes) -> Iterator[Flow]:
    message = _message((_GET, _DUMP), family, wanted, kernel.next_sequence())
    for body in kernel.ask(message, "listing UDP flows"):
        flow = flow_in(body)
        if flow is not None:
            yield flow


def flow_in(body: bytes) -> Flow | None:
    """The flow in one answer of the kernel, None unless it is UDP."""
    parts = parsed(body)
    if _ORIGINAL not in parts or _REPLY not in parts:
        return None
    original, reply = parsed(parts[_ORIGINAL]), parsed(parts[_REPLY])
    ports, reply_ports = parsed(original[2]), parsed(reply[2])
    if ports.get(1) != bytes((_UDP,)):
        return None
    addresses, reply_addresses = parsed(original[1]), parsed(reply[1])
    destination = addresses.get(2) or addresses[4]
    answering = reply_addresses.get(1) or reply_addresses[3]
    return Flow(
        destination + bytes((_UDP, 0, 0, 0)) + ports[3] + b"\0\0",
        answering + reply_ports[2] + b"\0\0",
        parts[_ORIGINAL],
        parts.get(_ID, b""),
    )


def _forget(kernel: NetfilterSocket, flow: Flow) -> int:
    # The identity makes sure that it is this flow and not one that has begun since with the same addresses.
    wanted = nested(_ORIGINAL, flow.original) + (
        u32(_ID, int.from_bytes(flow.identity, "big")) if flow.identity else b""
    )
    message = _message((_DELETE, _ACK), _family(flow.destination), wanted, kernel.next_sequence())
    try:
        kernel.ask(message, "forgetting a UDP flow")
    except NetfilterError as error:
        if error.errno != errno.ENOENT:
            raise
        return 0  # it has ended meanwhile
    return 1


def _message(what: tuple[int, int], family: int, body: bytes, sequence: int) -> bytes:
    kind, flags = what
    header = struct.pack("=IHHII", 20 + len(body), _SUBSYSTEM << 8 | kind, _REQUEST | flags, sequence, 0)
    return header + struct.pack(">BBH", family, 0, 0) + body
