"""Ports of TCP services in a worker, which accepts on sockets of the supervisor's (ports.py)."""

import os
import socket
from collections.abc import Sequence

from ingress import wire
from ingress.proxy import Engine


class StreamPorts:
    """The ports that are open for streams."""

    def __init__(self) -> None:
        self._sockets: dict[int, list[int]] = {}
        """Descriptors, by port."""
        self._headed: dict[int, bool] = {}
        """Of those that are accepted on: whether connections begin with a PROXY header."""

    @property
    def accepting(self) -> list[int]:
        """Descriptors of all sockets."""
        return [fd for found in self._sockets.values() for fd in found]

    def take(self, line: socket.socket, ports: Sequence[tuple[int, int]]) -> None:
        """Receive the sockets of (port, how many of them)."""
        left, fds = sum(count for _, count in ports), list[int]()
        while left > len(fds):
            # They were sent before we were told of them: this waits for nobody.
            _, some, _, _ = socket.recv_fds(line, 1, wire.SOCKETS_AT_ONCE, socket.MSG_CMSG_CLOEXEC)
            fds += some
        for port, count in ports:
            self._close(port)
            self._sockets[port], fds = fds[:count], fds[count:]

    def lead(self, engine: Engine, port: int, lines: wire.HostLines | None) -> None:
        """Connections to a port go to a backend from now on; None: nobody listens there."""
        if lines is None or self._headed.get(port, lines.headed) != lines.headed:
            engine.set_stream(port, None)
            self._headed.pop(port, None)
        if lines is None:
            self._close(port)
            return
        engine.set_stream(port, lines.passthrough)
        if port not in self._headed and port in self._sockets:
            self._headed[port] = lines.headed
            for fd in self._sockets[port]:
                engine.listen(fd, tls=False, port=port, proxy_protocol=lines.headed, stream=True)

    def close(self) -> None:
        """Of the engine they are closed by stop_accepting."""
        for port in list(self._sockets):
            self._close(port)

    def _close(self, port: int) -> None:
        for fd in self._sockets.pop(port, ()):
            os.close(fd)
