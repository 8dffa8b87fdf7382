"""Sockets and commands inside a network namespace, by name under /run/netns."""

import asyncio
import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from causeway.demo.topology import Batch

NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000

Socket = socket.socket
STREAM = socket.SOCK_STREAM
DATAGRAM = socket.SOCK_DGRAM

libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12 only


class CommandFailed(Exception):
    """A program that had to work did not."""

    def __init__(self, argv: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"`{' '.join(argv)}` ended with status {status}: {said.strip() or 'it said nothing'}")
        self.status = status
        self.said = said


@contextlib.contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread is inside `netns` until the block ends. Never await in it: the whole event loop would be there.

    Sockets opened in the block stay in the namespace for good; /proc/sys/net is the namespace's.
    """
    with open("/proc/thread-self/ns/net") as home, open(NETNS / netns) as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(home.fileno())


def enter(fd: int) -> None:
    if libc.setns(fd, CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"cannot enter the network namespace: {os.strerror(error)}")


def open_socket(netns: str, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
    """A non-blocking IPv4 socket in that namespace."""
    with inside(netns):
        made = socket.socket(socket.AF_INET, kind, protocol)
    made.setblocking(False)
    return made


def set_sysctl(netns: str, name: str, value: str) -> None:
    with inside(netns):
        Path("/proc/sys", *name.split("/")).write_text(value)


def names(prefix: str) -> list[str]:
    """Namespaces whose name begins with `prefix`."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(name for name in os.listdir(NETNS) if name.startswith(prefix))
    return []


def delete(found: Iterable[str]) -> None:
    """Forget namespaces, if they are there; the kernel frees them once the last process in them is gone."""
    for name in found:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        # A run killed between making the file and mounting the namespace on it leaves a file that `ip` cannot unmount.
        (NETNS / name).unlink(missing_ok=True)


def argv_in(netns: str, argv: Sequence[str]) -> list[str]:
    """What a person would type. For programs of our own `nsenter` does, which leaves mounts alone."""
    return ["ip", "netns", "exec", netns, *argv]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str


async def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    timeout: float = 20.0,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run a command to its end, in its own session: a Ctrl-C at the terminal is for us, not for it."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=None if env is None else {**os.environ, **env},
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        return Done(124, "", f"no end after {timeout:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


async def must(argv: Sequence[str], *, stdin: str = "", timeout: float = 20.0) -> str:
    """What the command printed. Raises CommandFailed when it fails."""
    done = await run(argv, stdin=stdin, timeout=timeout)
    if done.status:
        raise CommandFailed(argv, done.status, done.err or done.out)
    return done.out


async def apply(batch: Batch) -> None:
    """Run one batch of `ip` lines; the first that fails ends it. Raises CommandFailed."""
    argv = ["ip", *(["-n", batch.netns] if batch.netns else []), "-batch", "-"]
    await must(argv, stdin="".join(f"{line}\n" for line in batch.lines))
