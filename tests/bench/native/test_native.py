import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import native, usage


def test_a_program_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "CACHE", tmp_path)
    built = native.program("forward")
    made = built.stat().st_mtime_ns
    assert native.program("forward").stat().st_mtime_ns == made
    assert os.access(built, os.X_OK)


def test_without_a_compiler_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.Unavailable, match="build-essential"):
        native.program("forward")


@contextlib.contextmanager
def forwarding(target: int, *options: str) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([str(native.program("forward")), str(port), str(target), *options])
    try:
        deadline = time.monotonic() + 5
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def ask(port: int, path: str = "/", method: str = "GET", body: object = None, **headers: str) -> tuple[int, bytes]:
    status, octets, answer = ask_all(port, path, method, body, **headers)
    assert octets == (len(body) if isinstance(body, bytes) else 100_004 if body else 0)
    return status, answer


def ask_all(
    port: int, path: str = "/", method: str = "GET", body: object = None, **headers: str
) -> tuple[int, int, bytes]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request(method, path, body, headers, encode_chunked=headers.get("Transfer-Encoding") == "chunked")  # type: ignore[arg-type]
        answer = connection.getresponse()
        return answer.status, int(answer.headers["X-Body-Octets"]), answer.read()


@pytest.mark.parametrize("through", ["directly", "forwarded"])
def test_bodies_both_ways(through: str) -> None:
    with contextlib.ExitStack() as stack:
        port, _ = stack.enter_context(native.endpoint())
        if through == "forwarded":
            port, _ = stack.enter_context(forwarding(port))
        assert ask(port) == (200, b"hello world\n")
        body = ask(port, "/3000000")[1]
        assert len(body) == 3_000_000
        assert set(body[20_000_000 % 1_048_576 :: 1_048_576]) == {ord("x")}
        assert ask(port, "/", "POST", b"z" * 2_000_000) == (200, b"hello world\n")
        chunks = iter([b"abc", b"d" * 100_000, b"e"])
        assert ask(port, "/5", "POST", chunks, **{"Transfer-Encoding": "chunked"}) == (200, b"hello")


def test_the_endpoint_tells_the_head_that_reached_it() -> None:
    with native.endpoint() as (port, _):
        told = ask(port, "/x/echo", **{"X-Forwarded-For": "192.0.2.7"})[1]
    assert told.startswith(b"GET /x/echo HTTP/1.1\r\n")
    assert b"X-Forwarded-For: 192.0.2.7\r\n" in told


def test_burnt_time_is_seen() -> None:
    with native.endpoint("burn_us=2000") as (port, pid):
        before = usage.cpu_ns(pid)
        for _ in range(20):
            ask(port)
        assert (usage.cpu_ns(pid) - before) / 20 / 1000 == pytest.approx(2000, rel=0.5)


def test_memory_of_a_process_and_its_children() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert child.pid in usage.family(os.getpid())
        assert usage.memory_bytes(os.getpid()) > usage.own_memory_bytes(child.pid) > 0
        assert sum(usage.cpu_split(os.getpid())) > 0
    finally:
        child.kill()
        child.wait()


def test_an_unknown_option_is_refused() -> None:
    done = subprocess.run([str(native.program("endpoint")), "0", "sleep=1"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "sleep=1" in done.stderr
