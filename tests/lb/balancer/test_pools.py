"""What --pool accepts, and what it says about the rest."""

import pytest

from lb.balancer.pools import BadPool, parse_address, parse_pools, pool_of


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["a=192.0.2.10-192.0.2.20"], {"a": ["192.0.2.10-192.0.2.20"]}),
        (["a=192.0.2.10"], {"a": ["192.0.2.10-192.0.2.10"]}),
        (["a=192.0.2.10 - 192.0.2.20"], {"a": ["192.0.2.10-192.0.2.20"]}),
        (["a=192.0.2.0/24"], {"a": ["192.0.2.1-192.0.2.254"]}),
        (["a=192.0.2.8/31"], {"a": ["192.0.2.8-192.0.2.9"]}),
        (["a=192.0.2.8/32"], {"a": ["192.0.2.8-192.0.2.8"]}),
        (["a=2001:db8::/120"], {"a": ["2001:db8::1-2001:db8::ff"]}),
        (["a=2001:db8::1-2001:db8::9"], {"a": ["2001:db8::1-2001:db8::9"]}),
        (
            ["a=192.0.2.1-192.0.2.2,192.0.2.5", "a=2001:db8::/127", "b=198.51.100.0/30"],
            {
                "a": ["192.0.2.1-192.0.2.2", "192.0.2.5-192.0.2.5", "2001:db8::-2001:db8::1"],
                "b": ["198.51.100.1-198.51.100.2"],
            },
        ),
    ],
)
def test_pools_are_read(flags: list[str], expected: dict[str, list[str]]) -> None:
    assert {pool.name: [str(each) for each in pool.ranges] for pool in parse_pools(flags)} == expected


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["192.0.2.1-192.0.2.2"], "write NAME=FIRST-LAST"),
        (["a="], "write NAME=FIRST-LAST"),
        (["=192.0.2.1"], "the pool's name ''"),
        (["Public=192.0.2.1"], "the pool's name 'Public'"),
        (["a=192.0.2.300"], "'192.0.2.300' is not an IP address"),
        (["a=192.0.2.1-"], "'' is not an IP address"),
        (["a=192.0.2.1-5"], "'5' is not an IP address"),
        (["a=192.0.2.1,,192.0.2.3"], "'' is not an IP address"),
        (["a=fe80::1%eth0"], "is not an IP address"),
        (["a=192.0.2.9-192.0.2.1"], "comes after"),
        (["a=192.0.2.9-2001:db8::1"], "different families"),
        (["a=192.0.2.0/33"], "is not a CIDR"),
        (["a=192.0.2.5/24"], "has host bits set; write 192.0.2.0/24"),
        (["a=127.0.0.1"], "127.0.0.1 is a loopback address"),
        (["a=224.0.0.1-224.0.0.9"], "multicast"),
        (["a=0.0.0.0-1.2.3.4"], "unspecified"),
        (["a=fe80::1"], "link-local"),
        (["a=255.255.255.255"], "broadcast"),
        (["a=192.0.2.1-192.0.2.9", "b=192.0.2.9"], "overlaps 192.0.2.1-192.0.2.9 of pool 'a'"),
        (["a=192.0.2.1-192.0.2.9,192.0.2.4-192.0.2.5"], "overlaps"),
    ],
)
def test_nonsense_is_refused(flags: list[str], message: str) -> None:
    with pytest.raises(BadPool) as refused:
        parse_pools(flags)
    assert message in str(refused.value)
    assert repr(flags[-1]) in str(refused.value)  # names the flag


def test_an_address_names_its_pool() -> None:
    pools = parse_pools(["a=192.0.2.1-192.0.2.9", "b=2001:db8::/64"])
    for text, name in [("192.0.2.9", "a"), ("192.0.2.10", None), ("2001:db8::5", "b"), ("::c000:201", None)]:
        address = parse_address(text)
        assert address is not None
        found = pool_of(address, pools)
        assert (found.name if found else None) == name
