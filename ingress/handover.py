"""From one supervisor to the next without a refused connection: the listening sockets change hands, open all the time.

    old: probe the installed code -> start it with the sockets -> wait for "ready" -> stop being in charge -> "yours"
    new: take the sockets -> read the objects, fill the workers -> "ready" -> wait for "yours" -> admin, statuses

Both accept for a moment. If the new one does not come up, it is ended and the old one goes on as if nothing was.

After "yours" come frames with what the old one has counted: all of it at once, then what its workers still add until
their last request. Either side may be another version: what it does not know it leaves alone.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import msgspec

from ingress.listeners import SERVICE, Address, Listener

log = logging.getLogger(__name__)

VARIABLE = "CAUSEWAY_HANDOVER"
PROBE_VARIABLE = "CAUSEWAY_PROBE"
PROBE_SECONDS = 30.0
LIMIT_SECONDS = 60.0
"""What a new supervisor gets to read everything and to fill its workers."""
COUNTS_SECONDS = 5.0
"""What it gets to read a frame of counts."""
LENGTH_BYTES = 4


class UpgradeFailed(Exception):
    """The installed code does not come up; the text says why. Nothing has changed."""


class _Handed(msgspec.Struct):
    asked: str
    flag: str
    tls: bool
    host: str
    shared: bool
    sockets: list[int]


class _Bequest(msgspec.Struct):
    """All numbers are of inherited descriptors. This is in the environment: no secret is in it."""

    line: int
    listeners: list[_Handed]
    admin: int | None
    keys: int = -1
    """A pipe with the keys of TLS session tickets."""


@dataclass(frozen=True)
class Estate:
    """What the next supervisor gets."""

    listeners: Sequence[Listener]
    admin: socket.socket | None
    keys: bytes = field(repr=False)
    """Of TLS session tickets."""


class Predecessor:
    """The supervisor before us, which still serves."""

    def __init__(self, bequest: _Bequest) -> None:
        self._line = _taken(bequest.line)
        self._reader: asyncio.StreamReader | None = None
        self.keys = _read(bequest.keys)
        """Of TLS session tickets; b"" if it gives none."""
        self.admin = None if bequest.admin is None else _taken(bequest.admin)
        listeners = [
            Listener(each.flag, each.tls, Address(each.host, 0), [_taken(fd) for fd in each.sockets], each.asked)
            for each in bequest.listeners
        ]
        for listener, each in zip(listeners, bequest.listeners, strict=True):
            listener.shared = each.shared
            listener.address = Address(each.host, listener.port)
        self.listeners = [each for each in listeners if each.flag != SERVICE]
        self.ports = [each for each in listeners if each.flag == SERVICE]

    @classmethod
    def from_environment(cls) -> "Predecessor | None":
        """None if we were started by anybody else. The variable is taken out, for those we start."""
        text = os.environ.pop(VARIABLE, None)
        return None if text is None else cls(msgspec.json.decode(text, type=_Bequest))

    def say_ready(self) -> None:
        self._say("ready")

    def say_failed(self, reason: str) -> None:
        self._say("failed " + " ".join(reason.split()))

    def _say(self, text: str) -> None:
        try:
            self._line.sendall(text.encode() + b"\n")
        except OSError as error:
            log.warning("the supervisor before this one is gone: %s", error.strerror)

    async def let_go(self) -> None:
        """Wait until it has let go of what only one may do, or is gone."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._line)
        with contextlib.suppress(ConnectionError):
            await self._reader.readline()

    async def counts(self) -> AsyncIterator[bytes]:
        """What it has counted, and then what its workers add, until it has ended."""
        assert self._reader is not None
        try:
            while True:
                length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                yield await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writer.close()


def _read(pipe: int) -> bytes:
    """All of a pipe that nobody writes to any more."""
    if pipe < 0:
        return b""
    with os.fdopen(pipe, "rb") as file:
        return file.read()


def _taken(fd: int) -> socket.socket:
    os.set_inheritable(fd, False)
    taken = socket.socket(fileno=fd)
    taken.setblocking(False)
    return taken


def only_probed() -> bool:
    """Whether we were started to see if we would start: flags are right and everything can be imported."""
    if os.environ.pop(PROBE_VARIABLE, None) is None:
        return False
    import ingress.worker  # noqa: F401  the engine, too

    return True


class Successor:
    """The supervisor that comes after us, up and ready."""

    def __init__(self, process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
        self.pid = process.pid
        self._process = process
        self._line = line
        self._writer: asyncio.StreamWriter | None = None

    def end(self) -> None:
        """It is not wanted after all."""
        self._process.kill()
        self._process.wait()
        self._line.close()

    async def take_over(self) -> None:
        """From here on everything is its own."""
        if self._process.poll() is not None:
            log.error("the new supervisor (process %d) has ended", self.pid)
        _, self._writer = await asyncio.open_unix_connection(sock=self._line)
        self._writer.write(b"yours\n")

    async def tell(self, counts: bytes) -> None:
        """Hand on what was counted. It may be gone, or of a version that does not ask for it."""
        assert self._writer is not None
        self._writer.write(len(counts).to_bytes(LENGTH_BYTES, "big") + counts)
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(COUNTS_SECONDS):
                await self._writer.drain()

    async def leave(self) -> None:
        """There is no more to tell."""
        assert self._writer is not None
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(COUNTS_SECONDS):
                await self._writer.wait_closed()


def command() -> list[str]:
    """What we were started as, for the code that is installed now."""
    return [sys.executable, *sys.orig_argv[1:]]


async def hand_over(estate: Estate) -> Successor:
    """Start the installed code on our sockets and wait until it serves. Raises UpgradeFailed; then it is ended."""
    if os.getpid() == 1:
        raise UpgradeFailed("this is process 1 of a container, which ends with it: start a container of the new image")
    await _probe()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = _start(estate, theirs)
    except BaseException:
        ours.close()
        raise
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            await _until_ready(process, ours)
    except BaseException as error:
        process.kill()
        ours.close()
        await asyncio.to_thread(process.wait)
        if isinstance(error, TimeoutError):
            raise UpgradeFailed(f"the new supervisor was not ready within {LIMIT_SECONDS:g} s") from None
        raise
    return Successor(process, ours)


async def _probe() -> None:
    """Would it start at all? Its words are then ours to tell; those of a started one go to the log."""
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            command(),
            env={**os.environ, PROBE_VARIABLE: "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpgradeFailed(f"the installed code does not start: {error}") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or [f"code {done.returncode}"]
        raise UpgradeFailed(f"the installed code does not start: {words[-1]}")


def _start(estate: Estate, theirs: socket.socket) -> "subprocess.Popen[bytes]":
    handed = [
        _Handed(
            each.asked, each.flag, each.tls, each.address.host, each.shared, [made.fileno() for made in each.sockets]
        )
        for each in estate.listeners
    ]
    keys = _filled(estate.keys)
    bequest = _Bequest(theirs.fileno(), handed, None if estate.admin is None else estate.admin.fileno(), keys)
    descriptors = [bequest.line, keys, *(fd for each in handed for fd in each.sockets)]
    if bequest.admin is not None:
        descriptors.append(bequest.admin)
    try:
        return subprocess.Popen(
            command(),
            env={**os.environ, VARIABLE: msgspec.json.encode(bequest).decode()},
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
        )
    except OSError as error:
        raise UpgradeFailed(f"{command()[0]} cannot be started: {error.strerror}") from None
    finally:
        os.close(keys)


def _filled(octets: bytes) -> int:
    """A pipe to read these few octets from: they are in no file and no environment."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(octets)
    return reading


async def _until_ready(process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
    line.setblocking(False)
    said = b""
    while b"\n" not in said:
        try:
            heard = await asyncio.get_running_loop().sock_recv(line, 4096)
        except ConnectionError:
            heard = b""
        if not heard:
            code = await asyncio.to_thread(process.wait)
            raise UpgradeFailed(f"the new supervisor ended with code {code} before it was ready; see its log")
        said += heard
    word, _, reason = said.decode().strip().partition(" ")
    if word != "ready":
        raise UpgradeFailed(f"the new supervisor does not come up: {reason}")
