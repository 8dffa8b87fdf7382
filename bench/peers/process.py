"""A proxy running for a measurement: started with its configuration, pinned to one core, its CPU time read.

CPU time is the scheduler's own (`schedstat`, nanoseconds), of the process and all its children, so that a supervisor
counts as well as its worker.
"""

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import usage
from bench.peers import configs
from bench.peers.configs import Place
from bench.peers.debian import program
from bench.peers.work import SMALL, Work

START_SECONDS = 60.0
LOG_READER = """
import socket, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind(sys.argv[1])
while True:
    log.recv(65536)
"""


class PeerFailed(Exception):
    """A proxy did not start, died, or does other work than the rest; the text says which and what it said."""


@dataclass
class Peer:
    """One proxy process (group) doing one work. Its log is in `folder`/output."""

    name: str
    work: Work
    port: int
    process: subprocess.Popen[bytes]
    folder: Path
    helpers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def alive(self) -> bool:
        return self.process.poll() is None

    def require_alive(self) -> None:
        if not self.alive():
            raise PeerFailed(f"{self.name} ended with status {self.process.returncode}: {self.said()}")

    def said(self) -> str:
        text = (self.folder / "output").read_text(errors="replace")
        return text.strip()[-500:] or "nothing on its output"

    def cpu_ns(self) -> int:
        return usage.cpu_ns(self.process.pid)

    def cpu_split(self) -> tuple[int, int]:
        return usage.cpu_split(self.process.pid)

    def memory_bytes(self) -> int:
        return usage.memory_bytes(self.process.pid)

    def stop(self) -> None:
        for each in (self.process, *self.helpers):
            if each.poll() is None:
                each.send_signal(signal.SIGKILL if each in self.helpers else signal.SIGTERM)
        for each in (self.process, *self.helpers):
            try:
                each.wait(10)
            except subprocess.TimeoutExpired:
                each.kill()
                each.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(argv: list[str], folder: Path, cpu: int | None, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    pinned = argv if cpu is None else ["taskset", "-c", str(cpu), *argv]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(pinned, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder, env=env)


def start_endpoint(folder: Path, cpu: int | None) -> Peer:
    """The server behind all proxies."""
    port = free_port()
    folder.mkdir(parents=True)
    (folder / "big").write_bytes(b"x" * (1 << 20))
    (folder / "conf").write_text(configs.endpoint(str(folder), port))
    folder.chmod(0o755)
    argv = [*program("nginx", "usr/sbin/nginx"), "-p", str(folder), "-e", str(folder / "error.log")]
    process = spawn([*argv, "-c", str(folder / "conf")], folder, cpu)
    return Peer("endpoint", Work("endpoint", "", ()), port, process, folder)


def start(name: str, work: Work, place: Place, cpu: int | None) -> Peer:
    """Start a proxy by its name (one of STARTERS). Raises PeerFailed or debian.Unavailable."""
    folder = Path(place.folder)
    folder.mkdir(parents=True)
    process, helpers = STARTERS[name](work, place, folder, cpu)
    return Peer(name, work, place.port, process, folder, helpers)


Started = tuple["subprocess.Popen[bytes]", list["subprocess.Popen[bytes]"]]


def _start_nginx(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "conf").write_text(configs.nginx(work, place))
    argv = [*program("nginx", "usr/sbin/nginx"), "-p", str(folder), "-e", str(folder / "error.log")]
    return spawn([*argv, "-c", str(folder / "conf")], folder, cpu), []


def _start_haproxy(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "hosts.map").write_text(configs.haproxy_map(work))
    (folder / "pair.pem").write_text(Path(place.certificate).read_text() + Path(place.key).read_text())
    (folder / "conf").write_text(configs.haproxy(work, place))
    # haproxy writes its log to a socket; somebody has to take it, on the other core.
    reader = spawn([sys.executable, "-S", "-c", LOG_READER, str(folder / "log.sock")], folder, None)
    _await(lambda: (folder / "log.sock").exists(), "the log socket")
    return spawn([*program("haproxy", "usr/sbin/haproxy"), "-db", "-f", str(folder / "conf")], folder, cpu), [reader]


def _start_causeway(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    manifests = folder / "manifests"
    manifests.mkdir()
    pair = (Path(place.certificate).read_text(), Path(place.key).read_text())
    (manifests / "all.yaml").write_text(configs.manifests(work, place, *pair))
    listen = ["--https" if work.tls else "--http", f"127.0.0.1:{place.port}"]
    argv = [sys.executable, "-m", "causeway", "serve", "-f", str(manifests), *listen, "--workers", "1"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return spawn(argv, folder, cpu, env), []


STARTERS = {"causeway": _start_causeway, "nginx": _start_nginx, "haproxy": _start_haproxy}


def verify(peer: Peer) -> None:
    """Wait until a peer answers, then check that it does the work: status, body, and an unknown host refused.

    Raises PeerFailed.
    """
    deadline = time.monotonic() + START_SECONDS
    host, request = peer.work.requests[0].host or "", peer.work.requests[0]
    while True:
        peer.require_alive()
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, body = _ask(peer, host, request.path)
            if status == 200:
                break
        if time.monotonic() > deadline:
            raise PeerFailed(f"{peer.name} does not answer with 200 within {START_SECONDS:g} s: {peer.said()}")
        time.sleep(0.05)
    if (request.path == "/big" and len(body) != 1 << 20) or (request.path != "/big" and body != SMALL.encode()):
        raise PeerFailed(f"{peer.name} answers {request.path} with another body: {body[:60]!r}")


def _ask(peer: Peer, host: str, path: str) -> tuple[int, bytes]:
    if peer.work.tls:
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            "127.0.0.1", peer.port, timeout=5, context=unverified
        )
    else:
        connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _await(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 5
    while not true():
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what} did not appear within 5 s")
        time.sleep(0.01)
