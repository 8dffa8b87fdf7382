"""Keys and places."""

import ipaddress

import pytest

from lb.service.elements import Places, endpoint_of_data, places_present, vip_key, vip_of_key
from lb.service.vips import Vip


@pytest.mark.parametrize("address", ["192.0.2.1", "fd00::1"])
@pytest.mark.parametrize("protocol", ["TCP", "UDP", "SCTP"])
def test_a_key_is_a_vip(address: str, protocol: str) -> None:
    vip = Vip(ipaddress.ip_address(address), protocol, 65535)
    assert vip_of_key(vip_key(vip)) == vip
    assert len(vip_key(vip)) == vip.address.max_prefixlen // 8 + 8


def test_an_endpoint_prints_as_address_and_port() -> None:
    assert endpoint_of_data(b"\x0a\0\0\1\x1f\x90\0\0") == "10.0.0.1:8080"
    assert endpoint_of_data(bytes(15) + b"\1\x1f\x90\0\0") == "[::1]:8080"


def arranged(before: str, wanted: str) -> str:
    places = Places([each.encode() for each in before])
    return "".join(each.decode() for each in places.arranged([each.encode() for each in wanted], sticky=False).order)


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("", "abc", "abc"),
        ("abc", "cba", "abc"),
        ("abc", "abcd", "abcd"),
        ("abcd", "bcd", "dbc"),
        ("abcd", "abc", "abc"),
        ("abcd", "cd", "dc"),
        ("abcd", "d", "d"),
        ("abcd", "", ""),
        ("abc", "axc", "axc"),
        ("abc", "xyz", "xyz"),
        ("abcd", "xcd", "xdc"),
        ("aab", "ab", "ab"),  # a table that others have written to
        ("", "aab", "ab"),
    ],
)
def test_as_few_as_can_be_are_moved(before: str, wanted: str, after: str) -> None:
    assert arranged(before, wanted) == after


def test_slots_stay_and_the_lowest_free_one_is_given() -> None:
    first = Places().arranged([b"a", b"b", b"c"], sticky=True)
    assert first.slots == {b"a": 0, b"b": 1, b"c": 2}
    second = first.arranged([b"c", b"d"], sticky=True)
    assert second.slots == {b"c": 2, b"d": 0}
    assert not second.arranged([b"c"], sticky=False).slots


def test_places_of_an_empty_table() -> None:
    assert places_present({}) == {}
