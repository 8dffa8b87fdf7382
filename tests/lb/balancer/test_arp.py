"""ARP frames: what is read, what is ignored, and how ours look on the wire."""

from ipaddress import IPv4Address

import pytest

from lb.balancer import arp

ASKER, OURS, OTHER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002"), bytes.fromhex("020000000003")
FROM, VIP = IPv4Address("192.0.2.4"), IPv4Address("192.0.2.200")
REQUEST = bytes.fromhex(
    "ffffffffffff 020000000001 0806"  # Ethernet
    "0001 0800 06 04 0001"  # Ethernet, IPv4, request
    "020000000001 c0000204 000000000000 c00002c8"
)


def test_a_request_is_read_and_answered_to_the_asker() -> None:
    found = arp.parse(REQUEST)
    assert found is not None
    destination, packet = found
    assert destination == arp.BROADCAST
    assert packet == arp.ArpPacket(arp.REQUEST, ASKER, FROM, b"\0" * 6, VIP)
    assert arp.answer(packet, OURS) == bytes.fromhex(
        "020000000001 020000000002 0806 0001 0800 06 04 0002 020000000002 c00002c8 020000000001 c0000204"
    )


def test_a_probe_is_answered() -> None:
    probe = arp.ArpPacket(arp.REQUEST, ASKER, IPv4Address("0.0.0.0"), b"\0" * 6, VIP)
    found = arp.parse(arp.answer(probe, OURS))
    assert found == (ASKER, arp.ArpPacket(arp.REPLY, OURS, VIP, ASKER, IPv4Address("0.0.0.0")))


def test_gratuitous_ones_go_to_everybody_in_both_kinds() -> None:
    request, reply = map(arp.parse, arp.gratuitous(VIP, OURS))
    assert request == (arp.BROADCAST, arp.ArpPacket(arp.REQUEST, OURS, VIP, b"\0" * 6, VIP))
    assert reply == (arp.BROADCAST, arp.ArpPacket(arp.REPLY, OURS, VIP, arp.BROADCAST, VIP))


def test_padding_is_no_matter() -> None:
    assert arp.parse(REQUEST + b"\0" * 18) == arp.parse(REQUEST)  # Ethernet's shortest frame is 60 bytes


@pytest.mark.parametrize("length", range(len(REQUEST)))
def test_cut_short(length: int) -> None:
    assert arp.parse(REQUEST[:length]) is None


@pytest.mark.parametrize(
    ("at", "value"),
    [(12, 0x86), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3), (21, 0)],
    ids=["ethertype", "hardware", "protocol", "hardware length", "protocol length", "RARP", "no operation"],
)
def test_other_frames(at: int, value: int) -> None:
    changed = bytearray(REQUEST)
    changed[at] = value
    assert arp.parse(bytes(changed)) is None
