"""The program in the pods, as the process it is."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from causeway.demo import echo


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(*argv: str, name: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-S", "-E", echo.__file__, *argv], env={"POD_NAME": name})


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[bytes], int, int]]:
    """An echo program, its HTTP and its UDP port; it has a neighbour for /notes."""
    http, udp, notes = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    listen = ["--http", f"127.0.0.1:{http}", "--udp", f"127.0.0.1:{udp}"]
    with (
        start("--http", f"127.0.0.1:{notes}", name="notes") as other,
        start(*listen, "--neighbour", f"/notes=127.0.0.1:{notes}", name='web"1') as process,
    ):
        try:
            connect(notes).close()
            yield process, http, udp
        finally:
            process.kill()
            other.kill()


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=5)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def read_answer(connection: socket.socket) -> tuple[bytes, dict[str, str]]:
    stream = connection.makefile("rb")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        assert line
        head += line
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    return head, json.loads(stream.read(length))


def test_it_says_whom_it_saw(server: tuple[subprocess.Popen[bytes], int, int]) -> None:
    _, http, udp = server
    with connect(http) as connection:
        host, port = connection.getsockname()
        for path in ("/a", '/b"\\'):  # over one connection
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz".encode())
            head, said = read_answer(connection)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert said["pod"] == 'web"1'
            assert said["peer"] == f"{host}:{port}"
            assert said["local"] == f"127.0.0.1:{http}"
            assert said["path"] == path
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.settimeout(5)
        datagrams.sendto(b"hello", ("127.0.0.1", udp))
        assert json.loads(datagrams.recv(2048))["said"] == "hello"


def test_a_neighbour_is_asked(server: tuple[subprocess.Popen[bytes], int, int]) -> None:
    with connect(server[1]) as connection:
        connection.sendall(b"GET /notes HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        _, said = read_answer(connection)
        assert said["pod"] == "notes"
        assert said["peer"].startswith("127.0.0.1:")


def test_nonsense_is_refused(server: tuple[subprocess.Popen[bytes], int, int]) -> None:
    with connect(server[1]) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_it_leaves_when_told_and_finishes_what_it_does(server: tuple[subprocess.Popen[bytes], int, int]) -> None:
    process, http, _ = server
    with connect(http) as idle, connect(http) as busy:
        for connection in (idle, busy):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            read_answer(connection)
        busy.sendall(b"GET / HTTP/1.1\r\n")  # half a request
        with connect(http) as other:  # by its answer, the half one has been read: it was sent before
            other.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            read_answer(other)
        process.send_signal(signal.SIGTERM)
        assert idle.recv(100) == b""
        busy.sendall(b"Host: h\r\n\r\n")
        head, _ = read_answer(busy)
        assert b"Connection: close" in head
    assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Y:  z ", ("GET", "/", {"host": "a", "x-y": "z"})),
        (b"GET / HTTP/1.0", ("GET", "/", {})),
    ],
)
def test_parse_head(head: bytes, expected: tuple[str, str, dict[str, str]]) -> None:
    assert echo.parse_head(head) == expected


@pytest.mark.parametrize("head", [b"", b"GET /", b"GET / HTTP/2", b"GET / x HTTP/1.1"])
def test_parse_head_refuses(head: bytes) -> None:
    with pytest.raises(ValueError, match=r"unpack|HTTP/2"):
        echo.parse_head(head)
