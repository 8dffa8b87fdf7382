"""Addresses: round robin, what is never handed out, both families."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.ipam import IPAddress, Pool, PoolExhausted, allocate, pools_of


def ip(text: str) -> IPAddress:
    return ipaddress.ip_address(text)


def pool(text: str) -> Pool:
    return Pool(ipaddress.ip_network(text))


@pytest.mark.parametrize(
    ("network", "in_use", "last", "want"),
    [
        # network          in use                     last            next
        ("10.1.0.0/24",    [],                        None,           "10.1.0.2"),  # not network, not gateway
        ("10.1.0.0/24",    [],                        "10.1.0.2",     "10.1.0.3"),  # not the one just freed
        ("10.1.0.0/24",    ["10.1.0.3", "10.1.0.4"],  "10.1.0.2",     "10.1.0.5"),
        ("10.1.0.0/24",    [],                        "10.1.0.254",   "10.1.0.2"),  # not broadcast
        ("10.1.0.0/24",    ["10.1.0.2"],              "10.1.0.254",   "10.1.0.3"),
        ("10.1.0.0/24",    [],                        "10.1.0.255",   "10.1.0.2"),
        ("10.1.0.0/24",    [],                        "10.9.0.7",     "10.1.0.2"),  # of another network
        ("10.1.0.0/30",    [],                        "10.1.0.2",     "10.1.0.2"),  # the only one
        ("fd00::/64",      [],                        None,           "fd00::2"),
        ("fd00::/64",      ["fd00::3"],               "fd00::2",      "fd00::4"),
        ("fd00::/126",     ["fd00::2"],               None,           "fd00::3"),   # no broadcast in IPv6
        ("fd00::/64",      [],                        "fd00::ffff:ffff:ffff:ffff", "fd00::2"),
    ],
)  # fmt: skip
def test_next_free(network: str, in_use: list[str], last: str | None, want: str) -> None:
    got = pool(network).next_free({ip(each) for each in in_use}, ip(last) if last else None)
    assert str(got) == want


def test_exhausted_names_the_network() -> None:
    with pytest.raises(PoolExhausted, match=r"10\.1\.0\.0/30"):
        pool("10.1.0.0/30").next_free({ip("10.1.0.2")}, None)


def test_one_address_of_each_family() -> None:
    pools = pools_of(["fd00::/64", "10.1.0.0/24", "10.2.0.0/24"])
    assert [str(each) for each in allocate(pools, set(), (ip("10.1.0.9"), ip("fd00::9")))] == ["fd00::a", "10.1.0.10"]


@pytest.mark.parametrize("wrong", ["10.1.0.7/24", "nonsense", "10.1.0.0/31", "10.1.0.0/32", "fd00::/128"])
def test_bad_networks_are_named(wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong.replace(".", r"\.")):
        pools_of([wrong])


@given(st.lists(st.integers(0, 20), max_size=60))
def test_nobody_ever_shares_an_address(frees: list[int]) -> None:
    """Any sequence of taking one and freeing one: no doubles, always inside, all 13 of a /28 can be had."""
    mine = pool("10.1.0.0/28")
    in_use: list[IPAddress] = []
    last: IPAddress | None = None
    for number in frees:
        if number < len(in_use):
            in_use.pop(number)
        try:
            last = mine.next_free(set(in_use), last)
        except PoolExhausted:
            assert len(in_use) == mine.size == 13
            continue
        assert last not in in_use
        assert last in mine.network
        assert last not in (mine.network[0], mine.network[1], mine.network[-1])
        in_use.append(last)
