"""The programs of the demo: started with a mark in their environment, by which every later run can tell them."""

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from causeway.demo.layout import MARK, Layout


class Died(Exception):
    """A program that should run has ended."""

    def __init__(self, name: str, status: int | None, log: Path) -> None:
        last = tail(log, 12)
        super().__init__(f"{name} ended with status {status}" + (f"; the last it said:\n{last}" if last else ""))


@dataclass
class Program:
    """One running program; its output goes to `log`."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def check(self) -> None:
        """Raises Died when it does not run any more."""
        if self.process.returncode is not None:
            raise Died(self.name, self.process.returncode, self.log)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after `grace_s`."""
        if self.process.returncode is None:
            self.process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.process.wait()
        await self.kill()

    async def kill(self) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        await self.process.wait()


async def start(
    layout: Layout, name: str, netns: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None
) -> Program:
    """Start a program inside a namespace; output is appended to logs/NAME.log."""
    log = layout.logs / f"{name}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            # If the demo is killed, the kernel kills its programs: what then is left is only names and files.
            *("setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={layout.netns_path(netns)}", "--", *argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, **(env or {}), MARK: layout.name},
        )
    return Program(name, process, log)


def tail(log: Path, lines: int) -> str:
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def marked(name: str) -> list[int]:
    """Processes that carry the mark of the demo called `name`, whoever started them."""
    mark = f"{MARK}={name}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it may end while we look
                if mark in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    return found


def end_marked(name: str, grace_s: float) -> None:
    """End every process of the demo called `name`, first politely. Blocks for at most `grace_s` and a bit."""
    end(marked(name), name, signal.SIGTERM, grace_s)
    # Twice: what was being started while we looked is caught by the second look.
    for _ in range(2):
        end(marked(name), name, signal.SIGKILL, 2.0)


def end(pids: Iterable[int], name: str, how: signal.Signals, patience_s: float) -> None:
    mark = f"{MARK}={name}".encode()
    waiting: list[int] = []
    try:
        for pid in pids:
            with contextlib.suppress(OSError):
                waiting.append(os.pidfd_open(pid))
                # Only now is it certain that this number cannot become another process.
                if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                    signal.pidfd_send_signal(waiting[-1], how)
        wait_all(waiting, patience_s)
    finally:
        for fd in waiting:
            os.close(fd)


def wait_all(pidfds: Iterable[int], patience_s: float) -> None:
    """Wait until all these processes have ended, zombies included, or time is up."""
    deadline = time.monotonic() + patience_s
    left = set(pidfds)
    while left and (remaining := deadline - time.monotonic()) > 0:
        poll = select.poll()
        for fd in left:
            poll.register(fd, select.POLLIN)
        left -= {fd for fd, _ in poll.poll(remaining * 1000)}
