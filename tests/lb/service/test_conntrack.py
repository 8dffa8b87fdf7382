"""Reading a flow as the kernel lists it; that stale ones are forgotten is in tests/netns/test_services_changes.py."""

import struct

import pytest

from lb.nftables.attributes import attribute, nested, u8
from lb.service.conntrack import flow_in

CLIENT, VIP, ENDPOINT = bytes((10, 244, 1, 12)), bytes((10, 96, 0, 10)), bytes((10, 244, 1, 11))


def tuple_of(kind: int, protocol: int, addresses: tuple[bytes, bytes], ports: tuple[int, int]) -> bytes:
    """addresses and ports: source and destination."""
    first = 1 if len(addresses[0]) == 4 else 3
    return nested(
        kind,
        nested(1, attribute(first, addresses[0]), attribute(first + 1, addresses[1])),
        nested(2, u8(1, protocol), *(attribute(2 + i, struct.pack(">H", port)) for i, port in enumerate(ports))),
    )


@pytest.mark.parametrize("wide", [0, 12])
def test_a_translated_flow(wide: int) -> None:
    client, vip, endpoint = (bytes(wide) + each for each in (CLIENT, VIP, ENDPOINT))
    body = tuple_of(1, 17, (client, vip), (5353, 53)) + tuple_of(2, 17, (endpoint, client), (8080, 5353))
    found = flow_in(body + attribute(12, b"\0\0\1\2"))
    assert found is not None
    assert found.destination == vip + b"\x11\0\0\0" + struct.pack(">H2x", 53)
    assert found.answered_by == endpoint + struct.pack(">H2x", 8080)
    assert found.identity == b"\0\0\1\2"


def test_another_protocol_is_no_flow_of_ours() -> None:
    body = tuple_of(1, 6, (CLIENT, VIP), (5353, 53)) + tuple_of(2, 6, (ENDPOINT, CLIENT), (8080, 5353))
    assert flow_in(body) is None


def test_a_message_without_tuples_is_none() -> None:
    assert flow_in(attribute(12, b"\0\0\0\1")) is None
