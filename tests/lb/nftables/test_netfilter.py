"""The encoder against the kernel and against `nft`, in a namespace."""

import errno
import struct
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from lb.nftables import expressions as e
from lb.nftables.expressions import FAMILIES, IPV4, IPV6, Family, Verdict
from lb.nftables.messages import (
    IPV4_ADDRESS,
    NUMBER,
    PORT,
    PREROUTING,
    PROTOCOL,
    VERDICT,
    BaseHook,
    SetFlags,
    SetShape,
    Transaction,
)
from lb.nftables.netfilter import NetfilterError, NetfilterSocket
from tests.conftest import NetNs
from tests.netns.service_lab import inside

PORTS = SetShape("ports", (IPV4_ADDRESS, PROTOCOL, PORT), (IPV4_ADDRESS, PORT), SetFlags.MAP)
NUMBERS = SetShape("numbers", (NUMBER,), (NUMBER,), SetFlags.MAP)
CHAINS = SetShape("chains", (NUMBER,), (VERDICT,), SetFlags.MAP)
RANGES = SetShape("ranges", (IPV4_ADDRESS,), flags=SetFlags.INTERVAL)


def port_key(number: int) -> bytes:
    return bytes((10, 0, 0, 1, 6, 0, 0, 0)) + struct.pack(">H2x", number)


ELSEWHERE = bytes((10, 0, 0, 2)) + struct.pack(">H2x", 8080)


@pytest.fixture
def ns(netns: Callable[..., NetNs]) -> NetNs:
    return netns("nft")


@pytest.fixture
def kernel(ns: NetNs) -> Iterator[NetfilterSocket]:
    made = inside(ns, NetfilterSocket)
    yield made
    made.close()


def a_table(kernel: NetfilterSocket) -> None:
    transaction = Transaction(IPV4, "t")
    transaction.add_table("made by a test")
    for identity, shape in enumerate((PORTS, NUMBERS, CHAINS, RANGES), 1):
        transaction.add_set(shape, identity)
    transaction.add_chain("base", BaseHook("nat", PREROUTING, -100))
    transaction.add_chain("other")
    transaction.add_rule("base", e.l4_protocol(0), e.compare(0, b"\x06"), e.verdict(Verdict.JUMP, "other"))
    transaction.add_verdicts("chains", [(struct.pack("=I", 5), Verdict.GOTO, "other")])
    transaction.add_elements("numbers", [(struct.pack("=I", 1), struct.pack("=I", 258))])
    transaction.add_elements("ports", [(port_key(80), ELSEWHERE)])
    transaction.add_ranges("ranges", [(bytes((10, 0, 0, 0)), bytes((10, 0, 0, 255)))])
    kernel.commit([transaction])


def test_nft_reads_what_was_written(ns: NetNs, kernel: NetfilterSocket) -> None:
    a_table(kernel)
    listed = ns.run("nft", "list", "table", "ip", "t")
    for line in (
        'comment "made by a test"',
        "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
        "elements = { 10.0.0.1 . tcp . 80 : 10.0.0.2 . 8080 }",
        "elements = { 0x00000001 : 0x00000102 }",
        "elements = { 0x00000005 : goto other }",
        "elements = { 10.0.0.0/24 }",
        "meta l4proto tcp jump other",
    ):
        assert line in listed


def test_what_was_written_is_read_back(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    assert kernel.table(IPV4, "t") == "made by a test"
    assert kernel.table(IPV6, "t") is None
    assert kernel.chains(IPV4, "t") == {"base", "other"}
    assert kernel.elements(IPV4, "t", "ports") == [(port_key(80), ELSEWHERE, b"")]
    assert kernel.elements(IPV4, "t", "chains") == [(struct.pack("=I", 5), b"other", b"")]
    assert sorted(kernel.elements(IPV4, "t", "ranges")) == [
        (bytes((10, 0, 0, 0)), b"", b""),
        (bytes((10, 0, 1, 0)), b"", b"end"),
    ]


def test_many_elements_in_one_transaction(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    transaction = Transaction(IPV4, "t")
    transaction.delete_elements("ports", [port_key(80)])
    transaction.add_elements("ports", [(port_key(number), ELSEWHERE) for number in range(20_000)])
    kernel.commit([transaction])
    wanted = {port_key(each) for each in range(20_000)}
    deadline = time.monotonic() + 10
    # The kernel grows the set's hash table in the background; a dump that meets it may leave elements out.
    while (found := {key for key, _, _ in kernel.elements(IPV4, "t", "ports")}) != wanted:
        assert time.monotonic() < deadline, f"{len(wanted - found)} of {len(wanted)} elements are missing"


def test_an_error_names_the_element_and_nothing_is_changed(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    transaction = Transaction(IPV4, "t")
    different = bytes((10, 0, 0, 9)) + ELSEWHERE[4:]
    transaction.add_elements("ports", [(port_key(1), ELSEWHERE), (port_key(80), different), (port_key(2), ELSEWHERE)])
    with pytest.raises(NetfilterError, match="set ports") as caught:
        kernel.commit([transaction])
    assert caught.value.errno == errno.EEXIST
    assert caught.value.element == port_key(80)
    assert len(kernel.elements(IPV4, "t", "ports")) == 1


def test_an_error_names_the_set_that_is_missing(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    transaction = Transaction(IPV4, "t")
    transaction.add_elements("nothing", [(b"\0\0\0\0", b"")])
    with pytest.raises(NetfilterError, match="ip t set nothing") as caught:
        kernel.commit([transaction])
    assert caught.value.errno == errno.ENOENT


def test_the_socket_goes_on_after_an_error(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    bad = Transaction(IPV4, "t")
    for _ in range(5):
        bad.delete_elements("ports", [port_key(7)])
    with pytest.raises(NetfilterError):
        kernel.commit([bad])
    good = Transaction(IPV4, "t")
    good.delete_elements("ports", [port_key(80)])
    kernel.commit([good])
    assert kernel.elements(IPV4, "t", "ports") == []


def test_data_is_replaced_within_one_transaction(kernel: NetfilterSocket) -> None:
    a_table(kernel)
    transaction = Transaction(IPV4, "t")
    transaction.delete_elements("ports", [port_key(80)])
    transaction.add_elements("ports", [(port_key(80), ELSEWHERE[:4] + struct.pack(">H2x", 9))])
    kernel.commit([transaction])
    ((_, data, _),) = kernel.elements(IPV4, "t", "ports")
    assert data[4:6] == b"\0\x09"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_expression_is_one_that_nft_prints(ns: NetNs, kernel: NetfilterSocket, family: Family) -> None:
    transaction = Transaction(family, "t")
    transaction.add_table()
    transaction.add_chain("c", BaseHook("nat", PREROUTING, -100))
    rules = {
        "mark": ((e.mark(0), e.bitwise(0, 0xFFFFBFFF, 0x4000), e.set_mark(0)), "meta mark set meta mark | 0x00004000"),
        "priority": ((e.number(0, 0), e.set_priority(0)), "meta priority set none"),
        "fib": (
            (e.source_address_type(0), e.compare(0, e.LOCAL_ADDRESS), e.verdict(Verdict.DROP)),
            "fib saddr type local drop",
        ),
        "reset": ((e.l4_protocol(0), e.compare(0, b"\x06"), e.reject_with_reset()), "reject with tcp reset"),
        "icmp": ((e.reject_with_icmp(family),), "reject"),
    }
    for expressions, _ in rules.values():
        transaction.add_rule("c", *expressions)
    kernel.commit([transaction])
    listed = ns.run("nft", "list", "table", family.name, "t")
    for _, printed in rules.values():
        assert printed in listed


def test_without_rights_it_says_what_is_needed(ns: NetNs) -> None:
    program = (
        "from lb.nftables.netfilter import NetfilterSocket\n"
        "try: NetfilterSocket()\n"
        "except PermissionError as error: print(error)"
    )
    done = ns.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program)
    assert "needs root" in done
