"""Ports of UDP services in a worker: a session for each client, which ends when nothing comes for a while.

The kernel gives a client's datagrams to one worker's socket as long as there are the same sockets.
"""

import asyncio
import socket
from collections.abc import Callable

from ingress import wire
from ingress.proxy import Engine

IDLE_SECONDS = 600.0
"""As ingress-nginx's proxy-stream-timeout."""
SWEEP_SECONDS = 10.0
SESSIONS = 4096
"""Of one port and worker: each takes a descriptor. More clients are not served."""
BATCH = 64
OCTETS = 65535

Client = tuple[str, int] | tuple[str, int, int, int]


class _Port:
    def __init__(self, choose: Callable[[], str | None], made: list[socket.socket]) -> None:
        self.loop = asyncio.get_running_loop()
        self.choose = choose
        self.sockets = made
        self.sessions: dict[tuple[int, Client], tuple[socket.socket, float]] = {}
        for each in made:
            self.loop.add_reader(each, self._from_client, each)
        self.sweeping = self.loop.call_later(SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        self.sweeping.cancel()
        for key in list(self.sessions):
            self._end(key)
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
            there = self.sessions[key][0] if key in self.sessions else self._begin(here, key)
            if there is not None:
                self.sessions[key] = there, self.loop.time()
                _send(there, octets)

    def _begin(self, here: socket.socket, key: tuple[int, Client]) -> socket.socket | None:
        chosen = self.choose() if len(self.sessions) < SESSIONS else None
        if chosen is None:
            return None
        address, _, port = chosen.rpartition(":")
        family = socket.AF_INET6 if address.startswith("[") else socket.AF_INET
        try:
            there = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            there.connect((address.strip("[]"), int(port)))
        except OSError:
            return None
        self.loop.add_reader(there, self._from_endpoint, here, there, key)
        return there

    def _from_endpoint(self, here: socket.socket, there: socket.socket, key: tuple[int, Client]) -> None:
        for _ in range(BATCH):
            try:
                octets = there.recv(OCTETS)
            except BlockingIOError:
                return
            except OSError:  # nobody listens there any more: the next datagram begins anew
                self._end(key)
                return
            self.sessions[key] = there, self.loop.time()
            try:
                here.sendto(octets, key[1])
            except OSError:
                return  # as if it were lost on the way

    def _end(self, key: tuple[int, Client]) -> None:
        there, _ = self.sessions.pop(key)
        self.loop.remove_reader(there)
        there.close()

    def _sweep(self) -> None:
        oldest = self.loop.time() - IDLE_SECONDS
        for key in [key for key, (_, last) in self.sessions.items() if last < oldest]:
            self._end(key)
        self.sweeping = self.loop.call_later(SWEEP_SECONDS, self._sweep)


class DatagramPorts:
    """The ports that are open for datagrams."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, _Port]] = {}

    def lead(self, engine: Engine, port: int, lines: wire.HostLines | None) -> None:
        """Datagrams to a port go to a backend from now on; None: to nobody. Raises ValueError."""
        key, old = self._open.get(port, ("", None))
        if old is not None and (lines is None or lines.passthrough != key):
            old.close()
            del self._open[port]
        if lines is None or port in self._open:
            return
        backend = lines.passthrough
        try:
            made = _sockets(port)
        except OSError as error:
            raise ValueError(f"port {port} cannot be opened: {error.strerror}") from None
        self._open[port] = backend, _Port(lambda: engine.choose(backend), made)

    def close(self) -> None:
        for _, each in self._open.values():
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
