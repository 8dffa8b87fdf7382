"""The encoding itself; that the kernel and `nft` take it is tests/lb/nftables/test_netfilter.py's business."""

import struct

import pytest

from lb.nftables import messages
from lb.nftables.attributes import attribute, each, nested, parsed
from lb.nftables.expressions import IPV4
from lb.nftables.messages import ELEMENTS_PER_MESSAGE, Kind, Transaction, batch, element_at, elements_in, packet

KEY = bytes(range(12))
DATA = bytes(range(100, 108))


def test_attributes_are_padded_and_read_back() -> None:
    packed = attribute(1, b"abcde") + attribute(2, b"") + nested(3, attribute(4, b"x"))
    assert len(packed) % 4 == 0
    assert list(each(packed))[:2] == [(1, b"abcde"), (2, b"")]
    assert parsed(parsed(packed)[3]) == {4: b"x"}


def test_attributes_cut_at_every_byte_are_read_as_far_as_they_go() -> None:
    packed = attribute(1, b"abcd") + attribute(2, b"efgh")
    for cut in range(len(packed)):
        found = dict(each(packed[:cut]))
        assert found.items() <= {1: b"abcd", 2: b"efgh"}.items()


@pytest.mark.parametrize("data", [b"", DATA])
def test_the_fast_encoding_of_an_element_is_the_plain_one(data: bytes) -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_elements("s", [(KEY, data)])
    plain = nested(1, nested(1, attribute(1, KEY)), *((nested(2, attribute(1, data)),) if data else ()))
    assert transaction.messages[0].body.endswith(nested(3, plain))
    assert elements_in(transaction.messages[0].body) == [(KEY, data, b"")]


def test_elements_of_odd_length_are_padded() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_elements("s", [(b"\x06", b""), (b"\x11", b"\x50")])
    assert elements_in(transaction.messages[0].body) == [(b"\x06", b"", b""), (b"\x11", b"\x50", b"")]


def test_many_elements_are_several_messages() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_elements("s", [(struct.pack(">I", i), b"") for i in range(2 * ELEMENTS_PER_MESSAGE + 1)])
    assert [len(elements_in(message.body)) for message in transaction.messages] == [
        ELEMENTS_PER_MESSAGE,
        ELEMENTS_PER_MESSAGE,
        1,
    ]


def test_no_elements_are_no_message() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_elements("s", [])
    transaction.delete_elements("s", [])
    assert not transaction.messages


def test_ranges_end_before_the_next_key_and_the_last_one_has_no_end() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_ranges("s", [(b"\x0a\x00\x00\x00", b"\x0a\x00\x00\xff"), (b"\xe0\x00\x00\x00", b"\xff" * 4)])
    assert elements_in(transaction.messages[0].body) == [
        (b"\x0a\x00\x00\x00", b"", b""),
        (b"\x0a\x00\x01\x00", b"", b"end"),
        (b"\xe0\x00\x00\x00", b"", b""),
    ]


def test_boxes_carry_their_last_key() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_boxes("s", [(KEY, KEY[::-1])])
    assert elements_in(transaction.messages[0].body) == [(KEY, b"", KEY[::-1])]


def test_verdicts_come_back_as_the_name_of_their_chain() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_verdicts("s", [(b"\x01\0\0\0", messages.Verdict.GOTO, "internal-4")])
    assert elements_in(transaction.messages[0].body) == [(b"\x01\0\0\0", b"internal-4", b"")]


@pytest.mark.parametrize("index", [0, 1, 399])
def test_an_offset_in_a_message_is_an_element(index: int) -> None:
    transaction = Transaction(IPV4, "table")
    keys = [struct.pack(">III", i, i, i) for i in range(400)]
    transaction.add_elements("set", [(key, DATA) for key in keys])
    framed = packet(transaction.messages[0], 1)
    assert element_at(transaction.messages[0], framed.index(keys[index])) == keys[index]


@pytest.mark.parametrize("offset", [0, 4, 20, 24, 1 << 20])
def test_other_offsets_are_none(offset: int) -> None:
    transaction = Transaction(IPV4, "table")
    transaction.add_elements("set", [(KEY, DATA)])
    assert element_at(transaction.messages[0], offset) is None


def test_batch_numbers_its_messages_and_asks_for_the_last_ones_acknowledgement() -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_table()
    transaction.add_chain("c")
    packed = batch(transaction.messages, 7)
    seen = []
    at = 0
    while at < len(packed):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", packed, at)
        seen.append((kind & 0xFF, bool(flags & 4), sequence))
        at += length
    assert seen == [(0x10, False, 7), (Kind.NEWTABLE, False, 8), (Kind.NEWCHAIN, True, 9), (0x11, False, 10)]
