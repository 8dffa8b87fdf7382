"""Ports of UDP services in a worker: a session for each client, which ends when nothing comes for a while.

The kernel gives a client's datagrams to one worker's socket as long as there are the same sockets. A session's end is a
line of the access log: 502 if its endpoint does not listen, else 200. What is not served at all leaves none: clients of
UDP may be anybody's invention.
"""

import asyncio
import socket

from ingress import wire
from ingress.proxy import Engine, Settings

SWEEP_SECONDS = 10.0
"""So much later than its time at most a session ends."""
SESSIONS = 4096
"""Of one port and worker: each takes a descriptor. More clients are not served."""
BATCH = 64
OCTETS = 65535

Client = tuple[str, int] | tuple[str, int, int, int]


class _Session:
    """One client's datagrams, to and from one endpoint."""

    __slots__ = ("begun", "last", "received", "sent", "there")

    def __init__(self, there: socket.socket, now: float) -> None:
        self.there = there
        self.begun = self.last = now
        self.received = 0
        """Octets from the client."""
        self.sent = 0


class _Port:
    def __init__(self, ports: "DatagramPorts", engine: Engine, backend: str, made: list[socket.socket]) -> None:
        self.loop = asyncio.get_running_loop()
        self.ports = ports
        self.engine = engine
        self.backend = backend
        self.sockets = made
        self.sessions: dict[tuple[int, Client], _Session] = {}
        for each in made:
            self.loop.add_reader(each, self._from_client, each)
        self._sweep()

    def close(self) -> None:
        self.sweeping.cancel()
        for key in list(self.sessions):
            self._end(key, 200)
        for each in self.sockets:
            self.loop.remove_reader(each)
            each.close()

    def _from_client(self, here: socket.socket) -> None:
        for _ in range(BATCH):
            try:
                octets, client = here.recvfrom(OCTETS)
            except OSError:
                return
            key = (here.fileno(), client)
            session = self.sessions.get(key) or self._begin(here, key)
            if session is not None:
                session.last = self.loop.time()
                session.received += len(octets)
                _send(session.there, octets)

    def _begin(self, here: socket.socket, key: tuple[int, Client]) -> _Session | None:
        chosen = self.engine.choose(self.backend) if len(self.sessions) < SESSIONS else None
        if chosen is None:
            return None
        address, _, port = chosen.rpartition(":")
        family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        try:
            there = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            there.connect((address.strip("[]"), int(port)))
        except OSError:
            return None
        session = self.sessions[key] = _Session(there, self.loop.time())
        self.loop.add_reader(there, self._from_endpoint, here, session, key)
        return session

    def _from_endpoint(self, here: socket.socket, session: _Session, key: tuple[int, Client]) -> None:
        for _ in range(BATCH):
            try:
                octets = session.there.recv(OCTETS)
            except BlockingIOError:
                return
            except OSError:  # nobody listens there any more: the next datagram begins anew
                self._end(key, 502)
                return
            session.last = self.loop.time()
            session.sent += len(octets)
            try:
                here.sendto(octets, key[1])
            except OSError:
                return  # as if it were lost on the way

    def _end(self, key: tuple[int, Client], status: int) -> None:
        session = self.sessions.pop(key)
        self.loop.remove_reader(session.there)
        session.there.close()
        seconds = self.loop.time() - session.begun
        address = key[1][0].partition("%")[0]
        self.engine.log_datagrams(address, status, sent=session.sent, received=session.received, seconds=seconds)

    def _sweep(self) -> None:
        idle_seconds = self.ports.idle_seconds
        oldest = self.loop.time() - idle_seconds
        for key in [key for key, session in self.sessions.items() if session.last < oldest]:
            self._end(key, 200)
        self.sweeping = self.loop.call_later(min(SWEEP_SECONDS, idle_seconds), self._sweep)


class DatagramPorts:
    """The ports that are open for datagrams."""

    def __init__(self) -> None:
        self._open: dict[int, _Port] = {}
        self.idle_seconds = Settings().passthrough_idle_seconds
        self._draining = False

    def lead(self, engine: Engine, port: int, lines: wire.HostLines | None) -> None:
        """Datagrams to a port go to a backend from now on; None: to nobody. Raises ValueError."""
        old = self._open.get(port)
        if old is not None and (lines is None or lines.passthrough != old.backend):
            old.close()
            del self._open[port]
        if lines is None or port in self._open or self._draining:
            return
        try:
            made = _sockets(port)
        except OSError as error:
            raise ValueError(f"port {port} cannot be opened: {error.strerror}") from None
        self._open[port] = _Port(self, engine, lines.passthrough, made)

    def close(self) -> None:
        """For good: what changes while requests drain opens nothing, or datagrams would still come here."""
        self._draining = True
        for each in self._open.values():
            each.close()
        self._open.clear()


def _sockets(port: int) -> list[socket.socket]:
    found: list[socket.socket] = []
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            made = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            found.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.bind((address, port))
        except OSError:
            if family == socket.AF_INET6:
                break  # this machine may have no IPv6
            for each in found:
                each.close()
            raise
    return found


def _send(there: socket.socket, octets: bytes) -> None:
    try:
        there.send(octets)
    except OSError:
        return  # as if it were lost on the way
