"""A worker process: the data plane on its own loop, told what to do by the supervisor over one inherited socket.

Started as `python -m ingress.worker SOCKET_FD PASSING_FD SUPERVISOR_PID`; by the second socket, others come. It imports
as little as it can: everything here is in memory once per worker. It ends when the supervisor does.
"""

import asyncio
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
import uvloop

from ingress import wire
from ingress.datagrams import DatagramPorts
from ingress.filters.registry import Registry
from ingress.proxy import BackendSpec, ClientAuth, Engine, RouteOptions, RouteSpec, Settings
from ingress.proxy.settings import Matcher
from ingress.routes.model import DATAGRAMS, STREAM
from ingress.streams import StreamPorts
from ingress.tallies import Tallies
from ingress.tools import WorkerTools

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1  # linux/prctl.h
DRAIN_POLL_SECONDS = 0.02
_PLAIN = RouteOptions()
ROWS = 100
"""Of counters, told at a time: about a millisecond's work for both sides."""
QUEUE_SECONDS = 0.5
"""So long the end is put off for connections that wait to be accepted: others come all the time."""


class Worker:
    """Applies what the supervisor says to one engine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: socket.socket) -> None:
        self.reader = reader
        self.writer = writer
        self.passing = passing
        self.engine: Engine | None = None
        self.listeners: tuple[wire.ListenerLine, ...] = ()
        self.flags: wire.Start | None = None
        self.refused = _Refusals()
        """To be told with the next tables."""
        self.proxy_protocol = False
        self.logs = False
        self.streams = StreamPorts()
        self.datagrams = DatagramPorts()
        self.accepting: list[int] = []
        """Listening sockets; the engine has its own descriptors of them."""
        self.backend_spec = BackendSpec()
        self.backend_fields: dict[str, Any] = {}
        self.asking: set[str] = set()
        """Hosts that ask their TLS clients for certificates."""
        self.handed_through: set[str] = set()
        """Hosts whose TLS is handed to a backend."""
        self.filters: Registry
        self.drain: asyncio.Task[None] | None = None
        self.asked_stats: list[int] = []
        """Questions that are not answered yet."""
        self.telling: asyncio.Task[None] | None = None
        self.looking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the supervisor is gone or every connection has drained."""
        while True:
            try:
                message = await wire.receive_downward(self.reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            self.take(message)

    def take(self, message: wire.Downward) -> None:
        if isinstance(message, wire.Start):
            self.engine = Engine(Settings(**message.settings), asyncio.get_running_loop())
            self.filters = Registry(WorkerTools(self.engine, Tallies(message.tallies_fd, message.slot)))
            self.backend_fields = message.backend_spec
            self.backend_spec = read_spec(message.backend_spec)
            self.engine.on_trouble = log.warning
            for name, endpoints in message.passthrough.items():
                self.engine.set_backend(f"passthrough/{name}", endpoints)
                self.engine.set_passthrough(name, f"passthrough/{name}")
            self.listeners = message.listeners
            self.logs = message.settings.get("access_log_fd", -1) >= 0
            self.flags = message
        elif isinstance(message, wire.Configure):
            self.configure(message)
        elif isinstance(message, wire.Ports):
            self.streams.take(self.passing, message.ports)
        elif isinstance(message, wire.Update):
            self.apply(message)
        elif isinstance(message, wire.AskStats):
            assert self.engine is not None
            self.asked_stats.append(message.number)
            if len(self.asked_stats) == 1:
                self.telling = asyncio.create_task(self.tell_stats(self.engine))
        elif isinstance(message, wire.AskEndpoints):
            assert self.engine is not None
            self.looking = asyncio.create_task(self.tell_endpoints(self.engine, message.number))
        elif isinstance(message, wire.Ping):
            self.say(wire.Pong(message.number))
        elif isinstance(message, wire.TicketKeys):
            assert self.engine is not None
            self.engine.set_ticket_keys(message.keys)
        elif isinstance(message, wire.OpenLog):
            self.open_log(message.path)
        elif self.drain is None:
            assert self.engine is not None
            self.drain = asyncio.create_task(self.finish(self.engine))

    def configure(self, message: wire.Configure) -> None:
        """Take other settings; of those the engine refuses, the defaults count."""
        assert self.engine is not None
        assert self.flags is not None
        self.refused = _Refusals()
        self.proxy_protocol = message.proxy_protocol
        self.backend_fields = {**message.backend_spec, **self.flags.backend_spec}
        self.backend_spec = read_spec(self.backend_fields)
        good = dict(self.flags.settings)
        try:
            self._configure(self.engine, {**message.settings, **good})
            return
        except ValueError:
            self._configure(self.engine, good)
        for name in message.settings.keys() - good.keys():
            with self.refused.noting("settings", name):
                self._configure(self.engine, {**good, name: message.settings[name]})
                good[name] = message.settings[name]

    def _configure(self, engine: Engine, settings: dict[str, Any]) -> None:
        read = Settings(**settings)
        engine.configure(read)
        self.datagrams.idle_seconds = read.passthrough_idle_seconds

    def apply(self, update: wire.Update) -> None:
        """Replace entries: what routes lead to before the routes, and nothing is removed before what refers to it."""
        engine, refused = self.engine, self.refused
        self.refused = _Refusals()
        assert engine is not None
        for key, endpoints in update.backends.items():
            if endpoints is not None:
                with refused.noting("backends", key):
                    engine.set_backend(key, endpoints, self.spec(update.specs.get(key)))
        for host, pair in update.certificates.items():
            with refused.noting("certificates", host):
                if pair is None:
                    engine.remove_certificate(host)
                else:
                    engine.set_certificate(host, *pair)
        for host, lines in update.hosts.items():
            with refused.noting("hosts", host):
                self.host(engine, host, lines)
        for key, endpoints in update.backends.items():
            if endpoints is None:
                engine.remove_backend(key)
        self.listen(engine)
        self.say(wire.Applied(update.generation, tuple(refused)))

    def spec(self, own: dict[str, Any] | None) -> BackendSpec:
        """How a backend is treated: as all are, except for what is its own."""
        return read_spec({**self.backend_fields, **own}) if own else self.backend_spec

    def host(self, engine: Engine, host: str, lines: wire.HostLines | None) -> None:
        """Replace all of a host. ValueError for what the engine does not take; then its routes are what they were."""
        asked = msgspec.convert(lines.client_auth, ClientAuth) if lines and lines.client_auth else None
        if host.startswith(STREAM):
            self.streams.lead(engine, int(host.removeprefix(STREAM)), lines)
            return
        if host.startswith(DATAGRAMS):
            self.datagrams.lead(engine, int(host.removeprefix(DATAGRAMS)), lines)
            return
        passthrough = lines.passthrough if lines else ""
        routes = None if lines is None else [self.route(line) for line in lines.routes]
        patterns = _matcher(lines.patterns) if lines and lines.patterns else None
        if asked or host in self.asking:
            try:
                engine.set_client_auth(host, asked)
            except ValueError:
                engine.remove_host(host)  # it must not be open because this has failed
                raise
            (self.asking.add if asked else self.asking.discard)(host)
        if routes is None:
            engine.remove_host(host)
        else:
            engine.set_host(host, routes, patterns=patterns)
        if passthrough or host in self.handed_through:
            (self.handed_through.add if passthrough else self.handed_through.discard)(host)
            engine.set_passthrough(host, passthrough or None)
        engine.set_ciphers(host, lines.ciphers if lines else "")  # last: without them it is served all the same

    def route(self, line: wire.RouteLine) -> RouteSpec:
        """Labels take memory for every route: only for a log, or for filters, that may look at them."""
        return RouteSpec(
            line.path,
            line.exact,
            line.backend,
            line.id,
            line.labels if self.logs or line.filters else (),
            RouteOptions(**line.options) if line.options else _PLAIN,
            self.filters.chain(line.filters) if line.filters else None,
        )

    def listen(self, engine: Engine) -> None:
        """After the first update: from now on there is something to answer with."""
        listeners, self.listeners = self.listeners, ()
        if listeners:
            # The first tables stay for long: no walk over them while requests wait.
            gc.freeze()
        for listener in listeners:
            headed = listener.proxy_protocol or self.proxy_protocol
            engine.listen(listener.fd, tls=listener.tls, port=listener.port, proxy_protocol=headed)
            self.accepting.append(listener.fd)

    def open_log(self, path: str) -> None:
        assert self.engine is not None
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            log.warning("the access log goes on as before: %s: %s", path, error.strerror)
            return
        self.engine.set_access_log(fd)
        os.close(fd)

    async def tell_stats(self, engine: Engine) -> None:
        """Answer who has asked: first what was counted, a little at a time, because requests go on."""
        while self.asked_stats:
            rows = engine.take_requests()
            while some := tuple(islice(rows, ROWS)):
                self.say(wire.CountedRequests(some))
                await asyncio.sleep(0)
            self.say(_stats(self.asked_stats.pop(0), engine))

    async def tell_endpoints(self, engine: Engine, number: int) -> None:
        """Likewise a little at a time: a table of 100,000 endpoints is a tenth of a second's work."""
        rows = engine.seen_endpoints()
        while some := tuple(islice(rows, ROWS)):
            self.say(wire.SeenEndpoints(number, some))
            await asyncio.sleep(0)
        self.say(wire.SeenEndpoints(number, (), True))

    async def finish(self, engine: Engine) -> None:
        """Accept who waits already, then nobody; until every connection is closed."""
        clock = asyncio.get_running_loop().time
        until = clock() + QUEUE_SECONDS
        while _any_waits([*self.accepting, *self.streams.accepting]) and clock() < until:  # noqa: ASYNC110  the kernel tells nobody
            await asyncio.sleep(0)  # the engine accepts a batch
        engine.stop_accepting()
        self.streams.close()
        self.datagrams.close()
        for fd in self.accepting:
            os.close(fd)
        # The engine counts its connections and tells nobody; a look at one integer costs nothing.
        while engine.connections:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        if self.telling is not None:
            await self.telling
        for row in engine.take_requests():
            self.say(wire.CountedRequests((row,)))
        self.say(_stats(0, engine))
        self.say(wire.Drained())
        self.writer.close()  # and with it ends run()

    def say(self, message: wire.Upward) -> None:
        self.writer.write(wire.encode(message))


def _stats(number: int, engine: Engine) -> wire.Stats:
    return wire.Stats(number, msgspec.Raw(msgspec.msgpack.encode(engine.stats())))


def read_spec(fields: dict[str, Any]) -> BackendSpec:
    """Raises ValueError for what the engine would not take."""
    return msgspec.convert(fields, BackendSpec)


def _any_waits(listening: list[int]) -> bool:
    """Whether a connection is in the queue of one of these sockets."""
    poll = select.poll()
    for fd in listening:
        poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


class _Refusals(list[wire.Refused]):
    """What the engine does not take: one bad entry must not end a worker, and all its other requests with it."""

    @contextmanager
    def noting(self, table: str, key: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            self.append(wire.Refused(table, key, str(error)))


def _matcher(paths: tuple[tuple[str, int], ...]) -> Matcher:
    """Raises ValueError for what is no pattern."""
    from ingress.proxy.patterns import Patterns  # and RE2 with it, where it is needed

    return Patterns(paths)


async def work(descriptor: int, passing: int) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=descriptor))
    worker = Worker(reader, writer, socket.socket(fileno=passing))
    try:
        await worker.run()
    finally:
        if worker.engine is not None:
            worker.engine.close()


def end_with(supervisor_pid: int) -> None:
    """Ask the kernel to end this process when the supervisor ends, also by kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid:  # it ended before we asked
        sys.exit(1)


def main() -> None:
    descriptor, passing, supervisor_pid = map(int, sys.argv[1:4])
    end_with(supervisor_pid)
    # Ctrl-C and systemd signal the whole group; when to stop, and how fast, is for the supervisor to say.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s worker %(process)d: %(message)s")
    uvloop.run(work(descriptor, passing))


if __name__ == "__main__":
    main()
