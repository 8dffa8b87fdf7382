"""The control socket of a running proxy, and how `causeway reload` and `causeway upgrade` find and use it.

A unix socket that only its owner may use. One request, a line of JSON; the answer is a line of JSON for each thing that
was done, the last one saying whether all went well. A socket's file is named after the process: proxy-PID.sock.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

ANSWER_SECONDS = 120.0
REQUEST_SECONDS = 5.0


class Request(msgspec.Struct):
    do: str


class Line(msgspec.Struct, omit_defaults=True):
    """Something that was done, or why it was not. The last line says `ok`."""

    text: str
    ok: bool | None = None


Deed = Callable[[], AsyncIterator[Line]]


class NotReached(Exception):
    """No running proxy can be asked; the text says what to do."""


def run_folder() -> Path:
    """Where control sockets are by default."""
    if os.geteuid() == 0:
        return Path("/run/causeway")
    own = os.environ.get("XDG_RUNTIME_DIR")
    return Path(own) / "causeway" if own else Path(f"/tmp/causeway-{os.geteuid()}")


def socket_of(pid: int) -> Path:
    return run_folder() / f"proxy-{pid}.sock"


class ControlSocket:
    """Serves requests until cancelled. A supervisor that takes over replaces the file of the one before it."""

    def __init__(self, path: Path | None, deeds: dict[str, Deed]) -> None:
        self.given = path is not None
        self.path = path or socket_of(os.getpid())
        self.deeds = deeds

    async def run(self) -> None:
        try:
            listening = self._listen()
        except OSError as error:
            level = logging.ERROR if self.given else logging.INFO
            log.log(level, "no control socket, signals work all the same: %s: %s", self.path, error.strerror or error)
            await asyncio.Event().wait()
            return
        inode = os.stat(self.path).st_ino
        server = await asyncio.start_unix_server(self._serve, sock=listening)
        try:
            await asyncio.Event().wait()
        finally:
            server.close()
            with contextlib.suppress(OSError):
                if os.stat(self.path).st_ino == inode:  # else it is the next supervisor's
                    os.unlink(self.path)

    def _listen(self) -> socket.socket:
        if not self.given:
            _own_folder(self.path.parent)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            made.bind(str(temporary))
            os.chmod(temporary, 0o600)  # nobody can connect before it listens
            made.listen(8)
            os.replace(temporary, self.path)
        except OSError:
            made.close()
            raise
        return made

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            if not line:
                return  # who has only looked whether anybody listens
            request = msgspec.json.decode(line, type=Request)
            deed = self.deeds.get(request.do)
            if deed is None:
                writer.write(_encoded(Line(f'this version knows no "{request.do}"', ok=False)))
            else:
                async for said in deed():
                    writer.write(_encoded(said))
            await writer.drain()
        except (msgspec.MsgspecError, ValueError, OSError, TimeoutError) as error:
            log.info("control socket: %s", error)
        finally:
            writer.close()


def _encoded(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _own_folder(folder: Path) -> None:
    """Make it, and trust it only if it is ours alone: it lies in a place where anybody may write."""
    folder.mkdir(mode=0o755 if os.geteuid() == 0 else 0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise OSError(f"{folder} is not a folder of ours alone")


def running() -> Iterator[Path]:
    """The control sockets in the default folder that somebody listens on."""
    for path in sorted(run_folder().glob("proxy-*.sock")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            try:
                line.connect(str(path))
            except OSError:
                with contextlib.suppress(OSError):
                    path.unlink()  # left by one that was killed
                continue
        yield path


def find(pid: int | None, control: Path | None) -> Path:
    """The control socket meant by the flags: the only one there is, without any. Raises NotReached."""
    if control is not None:
        return control
    if pid is not None:
        return socket_of(pid)
    there = list(running())
    if not there:
        advice = "start one, or name its socket: --control FILE"
        raise NotReached(f"no proxy of this user runs here (looked in {run_folder()}); {advice}")
    if len(there) > 1:
        pids = ", ".join(each.stem.removeprefix("proxy-") for each in there)
        raise NotReached(f"several proxies run here; say which one: --pid PID, one of {pids}")
    return there[0]


def ask(path: Path, do: str, tell: Callable[[str], None]) -> bool:
    """Ask a proxy to do something, tell what it says, return whether all went well. Raises NotReached."""
    ok = False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(ANSWER_SECONDS)
        try:
            line.connect(str(path))
            line.sendall(msgspec.json.encode(Request(do)) + b"\n")
            with line.makefile("rb") as answer:
                for each in answer:
                    said = msgspec.json.decode(each, type=Line)
                    tell(said.text)
                    ok = said.ok if said.ok is not None else ok
        except (OSError, msgspec.MsgspecError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise NotReached(f"{path}: {reason}; does that proxy run, and as this user?") from None
    return ok
