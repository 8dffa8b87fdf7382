"""Ports of TCP services in a worker: they come and go with the ConfigMap, so a worker opens them by itself.

Every worker listens on them with SO_REUSEPORT, as it does on the supervisor's sockets. What waits in the queue of a
worker that is killed is lost; for sockets that are there from the start it is not.
"""

import errno
import socket

from ingress import wire
from ingress.listeners import BACKLOG
from ingress.proxy import Engine


class StreamPorts:
    """The ports that are open for streams."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[bool, list[socket.socket]]] = {}
        """Port -> whether connections begin with a PROXY header, and the sockets."""
        self.taken: set[int] = set()
        """Ports that are spoken HTTP on."""

    @property
    def accepting(self) -> list[int]:
        """Descriptors of all sockets."""
        return [each.fileno() for _, sockets in self._open.values() for each in sockets]

    def lead(self, engine: Engine, port: int, lines: wire.HostLines | None) -> None:
        """Connections to a port go to a backend from now on; None: nobody listens there. Raises ValueError."""
        headed, _ = self._open.get(port, (None, []))
        if headed is not None and (lines is None or lines.headed != headed):
            self._close(engine, port)
        if lines is None:
            return
        engine.set_stream(port, lines.passthrough)
        if port not in self._open:
            try:
                self._listen(engine, port, lines.headed)
            except OSError as error:
                raise ValueError(f"port {port} cannot be opened: {error.strerror}") from None

    def close(self) -> None:
        """Of the engine they are closed by stop_accepting."""
        for _, sockets in self._open.values():
            for each in sockets:
                each.close()
        self._open.clear()

    def _listen(self, engine: Engine, port: int, headed: bool) -> None:
        if port in self.taken:
            raise ValueError(f"port {port} is one of --http or --https")
        sockets: list[socket.socket] = []
        self._open[port] = headed, sockets
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            try:
                made = socket.socket(family, socket.SOCK_STREAM)
                sockets.append(made)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.bind((address, port))
                made.listen(BACKLOG)
            except OSError as error:
                if family == socket.AF_INET6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                    continue  # this machine has no IPv6
                self._close(engine, port)
                raise
            engine.listen(made.fileno(), tls=False, port=port, proxy_protocol=headed, stream=True)

    def _close(self, engine: Engine, port: int) -> None:
        engine.set_stream(port, None)
        for each in self._open.pop(port)[1]:
            each.close()
