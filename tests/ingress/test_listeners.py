"""Addresses as flags have them, and what binding them comes to."""

import os
import socket

import pytest

from ingress.listeners import Address, BadAddress, CannotListen, open_admin, open_listeners, read_address


@pytest.mark.parametrize(
    ("text", "want", "shown"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("[::1]:8080", Address("::1", 8080), "[::1]:8080"),
        (":8080", Address("", 8080), ":8080"),
        ("*:8080", Address("", 8080), ":8080"),
        ("8080", Address("", 8080), ":8080"),
        ("localhost:80", Address("localhost", 80), "localhost:80"),
    ],
)
def test_addresses(text: str, want: Address, shown: str) -> None:
    assert read_address(text) == want
    assert str(want) == shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no port"),
        ("localhost", "no port"),
        ("localhost:http", '"http" is not a port'),
        (":65536", "not a port"),
        (":-1", "not a port"),
        (":١", "not a port"),
        ("::1:8080", "in brackets"),
        ("[::x]:80", "not an IPv6 address"),
        ("http://127.0.0.1:80", "leave out http://"),
    ],
)
def test_what_is_no_address(text: str, words: str) -> None:
    with pytest.raises(BadAddress, match=words):
        read_address(text)


def test_every_worker_gets_a_socket_of_the_same_port() -> None:
    (listener,) = open_listeners([("--http", False, Address("127.0.0.1", 0))], 3)
    try:
        assert {each.getsockname()[1] for each in listener.sockets} == {listener.port}
        for _ in range(20):
            socket.create_connection(("127.0.0.1", listener.port)).close()
    finally:
        listener.close()


def test_all_addresses_are_two_listeners_on_one_port() -> None:
    opened = open_listeners([("--http", False, Address("", 0))], 1)
    try:
        assert opened[0].address.host == "0.0.0.0"
        assert len({listener.port for listener in opened}) == 1
        for listener in opened:
            host = "127.0.0.1" if listener.address.host == "0.0.0.0" else "::1"
            socket.create_connection((host, listener.port)).close()
    finally:
        for listener in opened:
            listener.close()


def test_a_port_in_use_even_by_ourselves() -> None:
    (first,) = open_listeners([("--http", False, Address("127.0.0.1", 0))], 2)
    try:
        before = len(os.listdir("/proc/self/fd"))
        wanted = [("--http", False, Address("127.0.0.1", 0)), ("--https", True, Address("127.0.0.1", first.port))]
        with pytest.raises(CannotListen, match=rf"--https 127.0.0.1:{first.port}: another program .*ss -ltnp"):
            open_listeners(wanted, 2)
        with pytest.raises(CannotListen, match="--admin"):
            open_admin("--admin", Address("127.0.0.1", first.port))
        assert len(os.listdir("/proc/self/fd")) == before, "nothing stays open"
    finally:
        first.close()


def test_two_flags_that_want_one_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wanted = [("--http", False, Address("127.0.0.1", port)), ("--https", True, Address("", port))]
    with pytest.raises(CannotListen, match=f"--https :{port}: --http listens there already"):
        open_listeners(wanted, 1)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(CannotListen, match="no such address"):
        open_listeners([("--http", False, Address("192.0.2.1", 8080))], 1)


def test_a_name_nobody_knows() -> None:
    with pytest.raises(CannotListen, match="is not known"):
        open_listeners([("--http", False, Address("nope.invalid", 8080))], 1)
