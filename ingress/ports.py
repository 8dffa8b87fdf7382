"""Ports of TCP services: they come and go with the ConfigMap, and are opened like the listeners of flags.

The supervisor keeps a socket for each worker, so that what is queued at a worker that is killed waits for the next one,
and hands all of them on in an upgrade.
"""

import socket
from collections.abc import Collection, Mapping, Sequence

from ingress import wire
from ingress.listeners import SERVICE, Address, CannotListen, Listener, open_listeners
from ingress.routes.model import STREAM, HostTable


class Ports:
    """What is open now, by port."""

    def __init__(self, workers: int, others: Sequence[Listener]) -> None:
        """others: those of flags, whose ports stay what they are."""
        self._workers = workers
        self._others = others
        self._open: dict[int, list[Listener]] = {}
        self._handed: list[Listener] = []
        self._beside = False

    @property
    def listeners(self) -> list[Listener]:
        return [each for found in self._open.values() for each in found]

    def inherit(self, handed: Sequence[Listener]) -> None:
        """What the supervisor before us has opened; it may open more as long as it is there."""
        self._handed = list(handed)
        self._beside = True

    def follow(self, hosts: Mapping[str, HostTable | None]) -> tuple[list[int], list[wire.Refused]]:
        """Open and close ports by what has changed; the first time these are all there are.

        Ports that are new, and what is wrong with those that cannot be opened.
        """
        opened, refused = list[int](), list[wire.Refused]()
        for host, table in hosts.items():
            if not host.startswith(STREAM):
                continue
            port = int(host.removeprefix(STREAM))
            if table is None:
                for each in self._open.pop(port, ()):
                    each.close()
            elif port not in self._open:
                try:
                    self._open[port] = self._listen(port)
                    opened.append(port)
                except CannotListen as error:
                    refused.append(wire.Refused("hosts", host, str(error)))
        for each in self._handed:
            each.close()
        self._handed = []
        return opened, refused

    def of_slot(self, slot: int, ports: Collection[int] | None = None) -> dict[int, list[socket.socket]]:
        """What the worker in a slot accepts on, of some ports or of all."""
        return {
            port: [made for each in self._open[port] for made in each.of_slot(slot, self._workers)]
            for port in (self._open if ports is None else ports)
        }

    def close(self) -> None:
        for each in (*self.listeners, *self._handed):
            each.close()
        self._open.clear()
        self._handed = []

    def _listen(self, port: int) -> list[Listener]:
        mine = [each for each in self._handed if each.port == port]
        self._handed = [each for each in self._handed if each not in mine]
        wanted = [(SERVICE, False, Address("", port))]
        return open_listeners(wanted, self._workers, handed=mine, others=self._others, beside=self._beside)
