"""Neighbour discovery frames: what is read, what is ignored, and how ours look on the wire."""

from ipaddress import IPv6Address

import pytest

from lb.balancer import ndp

ASKER, OURS = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
FROM, VIP, LINK_LOCAL = IPv6Address("2001:db8::4"), IPv6Address("2001:db8::200"), IPv6Address("fe80::ff:fe00:2")
SOLICITATION = bytes.fromhex(  # RFC 4861, 4.3; the checksum is put in by `with_checksum`
    "3333ff000200 020000000001 86dd"
    "60000000 0020 3a ff 20010db8000000000000000000000004 ff0200000000000000000001ff000200"
    "87 00 0000 00000000 20010db8000000000000000000000200 01 01 020000000001"
)


def with_checksum(frame: bytes) -> bytes:
    """The frame with its ICMPv6 checksum made right."""
    body = frame[54:56] + b"\0\0" + frame[58:]
    return frame[:56] + ndp._checksum(frame[22:38], frame[38:54], body).to_bytes(2, "big") + frame[58:]


def test_a_solicitation_is_read() -> None:
    assert ndp.parse(with_checksum(SOLICITATION)) == ndp.Solicitation(ASKER, FROM, VIP)


def test_it_is_answered_to_the_asker() -> None:
    frame = ndp.answer(ndp.Solicitation(ASKER, FROM, VIP), OURS, LINK_LOCAL)
    assert frame[:14] == ASKER + OURS + b"\x86\xdd"
    assert frame[22:54] == LINK_LOCAL.packed + FROM.packed
    assert frame[54] == ndp.ADVERTISEMENT
    assert frame[58] == 0x60  # solicited, override
    assert frame[-8:] == b"\x02\x01" + OURS
    assert ndp.parse(frame) == ndp.Advertisement(OURS, VIP)


@pytest.mark.parametrize(
    "frame",
    [
        ndp.unsolicited(VIP, OURS, LINK_LOCAL),
        # Who looks whether its address is unused has no address to be answered at.
        ndp.answer(ndp.Solicitation(ASKER, IPv6Address("::"), VIP), OURS, LINK_LOCAL),
    ],
)
def test_everybody_is_told(frame: bytes) -> None:
    assert frame[:6] == bytes.fromhex("333300000001")
    assert frame[38:54] == IPv6Address("ff02::1").packed
    assert frame[58] == 0x20  # override alone
    assert ndp.parse(frame) == ndp.Advertisement(OURS, VIP)


def test_without_a_link_local_address_the_address_itself_is_the_source() -> None:
    assert ndp.unsolicited(VIP, OURS)[22:38] == VIP.packed


def test_the_group_of_an_address() -> None:
    assert ndp.solicited_node(IPv6Address("2001:db8::12:3456")) == IPv6Address("ff02::1:ff12:3456")


GOOD = with_checksum(SOLICITATION)


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_cut_short(length: int) -> None:
    assert ndp.parse(GOOD[:length]) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [(13, 0), (20, 6), (21, 254), (54, 133), (55, 1), (62, 0xFF)],
    ids=["ethertype", "next header", "has crossed a router", "router solicitation", "code", "multicast target"],
)
def test_other_frames(at: int, value: int) -> None:
    changed = bytearray(GOOD)
    changed[at] = value
    assert ndp.parse(with_checksum(bytes(changed))) is None


def test_a_wrong_checksum() -> None:
    changed = bytearray(GOOD)
    changed[70] ^= 1
    assert ndp.parse(bytes(changed)) is None
