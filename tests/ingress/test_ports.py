"""Ports that a ConfigMap opens and closes; black-box: behaviour/test_streams.py."""

import socket
from collections.abc import Iterator

import pytest

from ingress.listeners import Address, Listener, open_listeners
from ingress.ports import Ports
from ingress.routes.model import HostTable
from tests.ingress.behaviour.test_streams import free_port


@pytest.fixture
def ports() -> Iterator[Ports]:
    made = Ports(2, ())
    yield made
    made.close()


def host(port: int) -> tuple[str, HostTable]:
    return f"tcp:{port}", HostTable(f"tcp:{port}", ())


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_they_follow_the_tables(ports: Ports) -> None:
    one, two = free_port(), free_port()
    assert ports.follow(dict([host(one), host(two), ("a.example", HostTable("a.example", ()))])) == ([one, two], [])
    assert answers(one)
    assert ports.follow(dict([host(one)])) == ([], []), "it is open already, whatever its table says now"
    assert ports.follow({f"tcp:{two}": None, "tcp:1": None}) == ([], [])
    assert not answers(two)
    each = [ports.of_slot(slot) for slot in range(2)]
    assert [list(found) for found in each] == [[one], [one]]
    sockets = [made for found in each for made in found[one]]
    assert len({made.fileno() for made in sockets}) == len(sockets), "no socket is two workers'"
    assert {made.getsockname()[1] for made in sockets} == {one}
    assert ports.of_slot(0, [one]) == each[0]
    assert ports.of_slot(0, []) == {}


def test_what_cannot_be_opened_is_refused_and_tried_again() -> None:
    taken = free_port()
    flags = open_listeners([("--https", True, Address("127.0.0.1", 0))], 1)
    ports = Ports(2, flags)
    try:
        with socket.create_server(("", taken)):
            opened, refused = ports.follow(dict([host(taken), host(flags[0].port)]))
            assert not opened
            assert [(each.table, each.key) for each in refused] == [
                ("hosts", f"tcp:{taken}"),
                ("hosts", f"tcp:{flags[0].port}"),
            ]
            assert "another program listens there" in refused[0].reason
            assert "--https listens there already" in refused[1].reason
        assert ports.follow(dict([host(taken)])) == ([taken], [])
    finally:
        ports.close()
        flags[0].close()


def copies(found: list[Listener]) -> list[Listener]:
    """As the next process has them."""
    return [
        Listener(each.flag, each.tls, each.address, [made.dup() for made in each.sockets], each.asked) for each in found
    ]


def test_the_next_supervisor_has_them_all_the_time(ports: Ports) -> None:
    one, two, late = free_port(), free_port(), free_port()
    ports.follow(dict([host(one), host(two)]))
    successor = Ports(3, ())
    successor.inherit(copies(ports.listeners))
    try:
        ports.follow(dict([host(late)]))
        assert successor.follow(dict([host(one), host(late)])) == ([one, late], []), "also what was opened meanwhile"
        ports.close()
        assert answers(one)
        assert answers(late)
        assert not answers(two), "it was asked for no more"
        assert len(successor.of_slot(2)[one]) == len(successor.of_slot(0)[one]), "a worker more has sockets too"
    finally:
        successor.close()
