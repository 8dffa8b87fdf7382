"""Clients that do little: idle ones, and ones that read slowly."""

import contextlib
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator

from bench.scenarios import ScenarioFailed, Skipped


def allow_files(count: int) -> None:
    """Raise the limit of open files to what is needed, or skip."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 200:
        if hard < count + 200:
            raise Skipped(f"{count + 200} open files are needed and {hard} are allowed: ulimit -Hn")
        resource.setrlimit(resource.RLIMIT_NOFILE, (count + 200, hard))


@contextlib.contextmanager
def idle(port: int, host: str, count: int) -> Iterator[None]:
    """`count` connections that have been answered once and now stay."""
    allow_files(count)
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            connection.sendall(request)
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise ScenarioFailed("an idle connection was not answered with 200")
        yield


@contextlib.contextmanager
def slow(port: int, host: str, path: str, *, count: int, octets_per_second: int) -> Iterator[list[int]]:
    """`count` clients that fetch `path` again and again and read so slowly; the list's item is what they have read."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    ended = threading.Event()
    read = [0]

    def serve() -> None:
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ready:
            for _ in range(count):
                connection = stack.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                connection.connect(("127.0.0.1", port))
                connection.sendall(request)
                connection.setblocking(False)
                ready.register(connection, selectors.EVENT_READ)
            while not ended.wait(0.1):
                for key, _ in ready.select(0):
                    with contextlib.suppress(BlockingIOError):
                        assert isinstance(key.fileobj, socket.socket)
                        read[0] += len(key.fileobj.recv(octets_per_second // 10))

    thread = threading.Thread(target=serve, name="slow-clients", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + 10
        while not read[0]:
            if time.monotonic() > deadline:
                raise ScenarioFailed("no slow client has read anything within 10 s")
            time.sleep(0.01)
        yield read
    finally:
        ended.set()
        thread.join()
