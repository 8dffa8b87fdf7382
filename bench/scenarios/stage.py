"""A proxy of ours on loopback, its endpoints, and the manifests it follows."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import native
from bench.load.arrivals import parse_profile
from bench.load.run import Plan
from bench.load.scenario import Request, Scenario
from bench.peers.process import free_port, python_env, serve_argv
from bench.scenarios import ScenarioFailed, documents
from bench.scenarios.documents import Document

HOST = "shop.example.com"


def await_true(true: Callable[[], Any], seconds: float, what: str, pause: float = 0.005) -> float:
    """Wait until `true()`; how long it took, in seconds. Raises ScenarioFailed after `seconds`."""
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > seconds:
            raise ScenarioFailed(f"{what} did not happen within {seconds:g} s")
        time.sleep(pause)
    return time.perf_counter() - began


@dataclass
class Stage:
    """A running proxy. `write` changes its manifests as one should: a new file takes the old one's place."""

    folder: Path
    port: int
    tls_port: int
    process: "subprocess.Popen[bytes]"

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    def write(self, file: str, *objects: Document) -> None:
        write(self.manifests, file, objects)

    def said(self) -> str:
        return (self.folder / "output").read_text(errors="replace")[-600:]

    def answers(self, host: str = HOST, endpoint: int | None = None) -> Callable[[], bool]:
        """A question: whether `host` is answered with 200, and by the endpoint at this port."""

        def true() -> bool:
            status, port = self.ask(host)
            return status == 200 and endpoint in (None, port)

        return true

    def ask(self, host: str = HOST, path: str = "/") -> tuple[int, int]:
        return ask(self.port, host, path)

    def await_answer(self, host: str = HOST, seconds: float = 60.0) -> float:
        def answered() -> bool:
            if self.process.poll() is not None:
                raise ScenarioFailed(f"the proxy ended with status {self.process.returncode}: {self.said()}")
            return self.ask(host)[0] == 200

        return await_true(answered, seconds, f"an answer of {host}")

    def scenario(self, path: str = "/") -> Scenario:
        request = Request(path=path, host=HOST)
        return Scenario(target=f"http://127.0.0.1:{self.port}", requests=(request,), answered_by="X-Endpoint")

    def plan(self, rate: int, seconds: float, connections: int = 32) -> Plan:
        pieces = parse_profile(str(rate), seconds)
        return Plan(
            duration_seconds=seconds, connections=connections, pieces=pieces, timeout_seconds=5,
            watch_pid=self.process.pid,
        )  # fmt: skip


def ask(port: int, host: str, path: str = "/") -> tuple[int, int]:
    """(status, port of the endpoint that answered); (0, 0) without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer.status, int(answer.headers.get("X-Endpoint", 0))
    return 0, 0


def write(folder: Path, file: str, objects: Sequence[Document]) -> None:
    new = folder / f".{file}.new"
    new.write_text("\n---\n".join(json.dumps(each) for each in objects))
    new.rename(folder / file)


@contextlib.contextmanager
def stage(*objects: Document, workers: int = 1, wait: bool = True) -> Iterator[Stage]:
    """Our proxy with these manifests, started; waits until HOST is answered unless `wait` is off."""
    with tempfile.TemporaryDirectory(prefix="causeway-bench-") as scratch:
        folder = Path(scratch)
        (folder / "manifests").mkdir()
        write(folder / "manifests", "all.yaml", objects)
        with running(folder, workers) as made:
            if wait:
                made.await_answer()
            yield made


@contextlib.contextmanager
def running(folder: Path, workers: int = 1) -> Iterator[Stage]:
    """Our proxy with the manifests that are in `folder`."""
    port, tls_port = free_port(), free_port()
    listen = ("--http", f"127.0.0.1:{port}", "--https", f"127.0.0.1:{tls_port}")
    flags = ("-f", str(folder / "manifests"), *listen, "--workers", str(workers), "--drain", "1")
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            serve_argv(*flags), stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=python_env()
        )
    try:
        yield Stage(folder, port, tls_port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def two_endpoints() -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Two endpoints: (port, pid) each."""
    with native.endpoint() as one, native.endpoint() as two:
        yield one, two


def shop(*ports: int) -> list[Document]:
    """The Ingress of HOST with its Service; a slice for each port."""
    slices = [documents.endpoints("web", port, number) for number, port in enumerate(ports, 1)]
    return [documents.service("web"), documents.ingress("shop", [HOST]), *slices]


def is_root() -> bool:
    return os.geteuid() == 0
