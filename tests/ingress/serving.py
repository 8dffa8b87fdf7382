"""The command as a user starts it, in a process of its own, and manifests to give it."""

import asyncio
import os
import re
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from lb.cluster.objects import Object
from tests.ingress.peers import Answer, Client, ask

START_SECONDS = 45.0 if "CAUSEWAY_SANITIZED" in os.environ else 15.0
"""A sanitized process (tests/sanitized.py) takes 2 s of CPU time to start, and there are two or more."""

_LISTENING = re.compile(r"(listening|admin endpoint) on (https?)://\S+:(\d+)$")


class Served:
    """A running `causeway serve`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.ports: dict[str, int] = {}
        self.reading = asyncio.create_task(self._read())

    @property
    def http(self) -> int:
        return self.ports["http"]

    @property
    def https(self) -> int:
        return self.ports["https"]

    @property
    def admin(self) -> int:
        return self.ports["admin"]

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            text = line.decode().rstrip()
            self.lines.append(text)
            found = _LISTENING.search(text)
            if found:
                self.ports["admin" if found[1] == "admin endpoint" else found[2]] = int(found[3])

    async def ready(self) -> None:
        """Wait until it takes requests; fail with its log if it ends or the time is up."""
        await self.until(lambda: "admin" in self.ports, START_SECONDS)
        await self.until_status("/readyz", 200, START_SECONDS)

    async def until(self, true: Callable[[], object], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s; its log:\n{self.log}"
            assert self.process.returncode is None, f"it ended with {self.process.returncode}; its log:\n{self.log}"
            await asyncio.sleep(0.01)

    async def until_status(self, path: str, status: int, seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while (await self.ask_admin(path)).status != status:
            assert time.monotonic() < deadline, f"{path} not {status} within {seconds} s; its log:\n{self.log}"
            await asyncio.sleep(0.01)

    async def ask_admin(self, path: str) -> Answer:
        return await ask(self.admin, "admin", path)

    async def until_answer(
        self, host: str, path: str, wanted: Callable[[Answer], object], *, seconds: float = 15.0
    ) -> Answer:
        """Ask until the answer is as wanted."""
        deadline = time.monotonic() + seconds
        while not wanted(answer := await ask(self.http, host, path)):
            assert time.monotonic() < deadline, f"{host}{path}: still {answer}; its log:\n{self.log}"
            await asyncio.sleep(0.01)
        return answer

    async def until_certificate(self, name: str, tls: ssl.SSLContext, seconds: float = 15.0) -> None:
        """Connect by TLS until the certificate is the one trusted."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                (await Client.connect(self.https, tls, name)).close()
                return
            except ssl.SSLCertVerificationError:
                assert time.monotonic() < deadline, f"not within {seconds} s; its log:\n{self.log}"
                await asyncio.sleep(0.01)

    def workers(self) -> list[int]:
        """Process ids of its children."""
        return children(self.process.pid)

    async def until_replaced(self, killed: int, workers: int) -> None:
        """Wait until a worker is gone and there are as many as before."""
        await self.until(lambda: killed not in self.workers() and len(self.workers()) == workers)

    async def end(self) -> int:
        """Ask for an orderly end and wait for it."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            code = await self.process.wait()
            await self.reading
        return code


def children(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(each) for each in path.read_text().split()]
    return sorted(found)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@asynccontextmanager
async def serving(*flags: str, http: bool = True) -> AsyncIterator[Served]:
    """`causeway serve` on free ports of loopback, ready; ended with the block."""
    argv = [*flags, "--admin", "127.0.0.1:0"]
    if http:
        argv += ["--http", "127.0.0.1:0"]
    async with started("serve", *argv) as served:
        await served.ready()
        yield served


@asynccontextmanager
async def started(*argv: str, launcher: Sequence[str] = (), **how: Any) -> AsyncIterator[Served]:
    """launcher: a command that becomes this one; how: as for subprocess.Popen."""
    process = await asyncio.create_subprocess_exec(
        *launcher, sys.executable, "-m", "causeway", *argv, stderr=asyncio.subprocess.PIPE, **how
    )
    served = Served(process)
    try:
        yield served
    finally:
        if process.returncode is None:
            process.kill()
        await served.ended()


class Folder:
    """A manifest folder; files are replaced by rename, as editors and controllers do it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def write(self, name: str, found: Iterable[Object]) -> None:
        self.write_text(name, "---\n".join(yaml.safe_dump(_document(each)) for each in found))

    def write_text(self, name: str, text: str) -> None:
        new = self.path / f".{name}.new"
        new.write_text(text)
        os.replace(new, self.path / f"{name}.yaml")

    def remove(self, name: str) -> None:
        (self.path / f"{name}.yaml").unlink()


def _document(found: Object) -> dict[str, object]:
    document: dict[str, object] = msgspec.to_builtins(found)
    return {"apiVersion": found.API_VERSION, "kind": found.KIND, **document}


def flat(*groups: Sequence[Object]) -> list[Object]:
    return [each for group in groups for each in group]
