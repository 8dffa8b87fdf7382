"""Which netlink events mean that the uplink has changed."""

import struct

from lb.network.watch import UplinkChanges, events_in

NEWLINK, DELLINK, NEWADDR = 16, 17, 20
UP, DOWN = 0x1 | 0x40, 0x1  # administratively up; with and without a carrier


def message(kind: int, body: bytes) -> bytes:
    length = 16 + len(body)
    return struct.pack("=LHHLL", length, kind, 0, 0, 0) + body + bytes(-length % 4)


def link(kind: int, index: int, flags: int) -> bytes:
    return message(kind, struct.pack("=BxHiII", 0, 1, index, flags, 0) + b"attributes!")


def address(index: int) -> bytes:
    return message(NEWADDR, struct.pack("=BBBBi", 2, 24, 0, 0, index))


def test_every_message_of_a_datagram() -> None:
    datagram = link(NEWLINK, 3, UP) + message(24, b"a route") + address(4) + link(DELLINK, 5, DOWN)
    assert list(events_in(datagram)) == [(NEWLINK, 3, UP), (NEWADDR, 4, 0), (DELLINK, 5, DOWN)]


def test_cut_at_every_byte() -> None:
    datagram = link(NEWLINK, 3, UP) + address(4)
    whole = list(events_in(datagram))
    for end in range(len(datagram)):
        found = list(events_in(datagram[:end]))
        assert found == whole[: len(found)]
        assert len(found) < 2


def test_lengths_that_lie() -> None:
    for length in (0, 3, 15, 17, 0xFFFFFFFF):
        assert list(events_in(struct.pack("=LHHLL", length, NEWLINK, 0, 0, 0) + bytes(20))) == []


def test_only_the_uplink_and_only_changes() -> None:
    changes = UplinkChanges()
    wanted = [
        ((NEWLINK, 2, UP), False),  # the first one only says how it is
        ((NEWLINK, 2, UP), False),
        ((NEWLINK, 9, DOWN), False),
        ((NEWLINK, 2, DOWN), True),
        ((NEWLINK, 2, UP), True),
        ((NEWADDR, 9, 0), False),
        ((NEWADDR, 2, 0), True),
        ((DELLINK, 2, 0), True),
    ]
    assert [changes.matters(event, 2) for event, _ in wanted] == [matters for _, matters in wanted]
