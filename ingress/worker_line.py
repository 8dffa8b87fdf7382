"""The supervisor's end of one worker process: what it is told, and what it has said."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ingress import wire
from ingress.proxy.counted import Counted, EndpointSeen

log = logging.getLogger(__name__)

UNREAD_BYTES_MAX = 256 << 20
"""A worker that lets this much lie unread hangs: it is replaced, so that the supervisor's memory stays bounded."""
START_GRACE = 3
"""A worker that has said nothing yet gets so many times longer: it may be importing on a busy machine."""
STATS_SECONDS = 1.0


class Worker:
    """The supervisor's end of one worker process."""

    def __init__(self, slot: int, process: "subprocess.Popen[bytes]", passing: socket.socket) -> None:
        """passing: where it takes sockets from."""
        self.slot = slot
        self.process = process
        self._passing = passing
        passing.setblocking(False)
        self.applied = 0
        """Generation of the tables it works with; 0: none yet."""
        self.drained = False
        self.hangs = False
        """Ended by us because it did not answer."""
        self.stats: dict[str, Any] = {}
        """What it counted when it was last asked."""
        self.counted: list[Counted] = []
        """Requests it has told of, for whoever adds them up."""
        self._questions: dict[int, asyncio.Future[None]] = {}
        self._seen: dict[int, list[EndpointSeen]] = {}
        self._asked = 0
        self._pings = 0
        self._pongs = 0
        self._writer: asyncio.StreamWriter | None = None

    @property
    def pid(self) -> int:
        return self.process.pid

    def connect(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def send(self, message: wire.Downward) -> None:
        assert self._writer is not None
        if self._writer.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            log.error("worker %d (pid %d) does not read what it is told; ending it", self.slot, self.pid)
            self.process.kill()
            return
        self._writer.write(wire.encode(message))

    def pass_sockets(self, ports: Mapping[int, Sequence[socket.socket]]) -> None:
        """Let it accept on these, once a table says where connections to the port go."""
        if not ports:
            return
        descriptors = [each.fileno() for sockets in ports.values() for each in sockets]
        try:
            for at in range(0, len(descriptors), wire.SOCKETS_AT_ONCE):
                socket.send_fds(self._passing, [b"."], descriptors[at : at + wire.SOCKETS_AT_ONCE])
        except OSError as error:
            log.error("worker %d (pid %d) takes no sockets: %s; ending it", self.slot, self.pid, error.strerror)
            self.process.kill()
            return
        self.send(wire.Ports(tuple((port, len(sockets)) for port, sockets in ports.items())))

    def ping(self) -> int:
        """Ask for a sign of life; return how many it owes. Counted, not timed: when we are late ourselves, so is it."""
        owed = self._pings - self._pongs
        self._pings += 1
        self.send(wire.Ping(self._pings))
        return owed if self._pongs else owed // START_GRACE

    async def ask_stats(self) -> None:
        """Refresh `stats`."""
        await self._ask(wire.AskStats)

    async def ask_endpoints(self) -> list[EndpointSeen]:
        """What it has seen of each endpoint; see Engine.seen_endpoints."""
        self._seen[self._asked + 1] = rows = list[EndpointSeen]()
        await self._ask(wire.AskEndpoints)
        return rows

    async def _ask(self, question: Callable[[int], wire.Downward]) -> None:
        """Until it is answered; give up after a while, so that a stopped process holds nobody up."""
        self._asked += 1
        number = self._asked
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._questions[number] = answered
        self.send(question(number))
        try:
            async with asyncio.timeout(STATS_SECONDS):
                await answered
        except TimeoutError:
            log.warning("worker %d (pid %d) does not answer", self.slot, self.pid)
        finally:
            self._questions.pop(number, None)
            self._seen.pop(number, None)

    def _answered(self, number: int) -> None:
        answered = self._questions.pop(number, None)
        if answered is not None and not answered.done():
            answered.set_result(None)

    def take(self, message: wire.Upward) -> None:
        if isinstance(message, wire.Applied):
            self.applied = message.generation
        elif isinstance(message, wire.Stats):
            self.stats = msgspec.msgpack.decode(message.stats)
            self._answered(message.number)
        elif isinstance(message, wire.CountedRequests):
            self.counted += message.rows
        elif isinstance(message, wire.SeenEndpoints):
            self._seen.get(message.number, []).extend(message.rows)
            if message.last:
                self._answered(message.number)
        elif isinstance(message, wire.Pong):
            self._pongs = message.number
        else:
            self.drained = True

    def gone(self) -> None:
        for answered in self._questions.values():
            if not answered.done():
                answered.set_result(None)
        if self._writer is not None:
            self._writer.close()
        self._passing.close()


def launch(slot: int, inherited: Sequence[int]) -> tuple[Worker, socket.socket]:
    """Start a process that has these descriptors: what we know of it, and our end of the line. Raises OSError."""
    ours, theirs = socket.socketpair()
    passing, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, passed:
        own = [theirs.fileno(), passed.fileno()]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "ingress.worker", *map(str, own), str(os.getpid())],
                pass_fds=[*own, *inherited],
                stdin=subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            passing.close()
            raise
    return Worker(slot, process, passing), ours
