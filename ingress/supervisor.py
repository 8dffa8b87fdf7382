"""Keeps N worker processes alive and tells them what to serve.

It owns the listening sockets (one per listener and worker) and hands each worker the ones of its slot. A worker that
dies is replaced in its slot at once; connections that were queued there wait for the new one, none is refused.
"""

import asyncio
import logging
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingress import wire
from ingress.crashes import Crashes
from ingress.listeners import Listener
from ingress.ports import Ports
from ingress.proxy.counted import EndpointSeen
from ingress.routes.model import Changes, Config, Endpoint
from ingress.tallies import make_tallies
from ingress.tickets import TicketKeys
from ingress.worker_line import Worker, launch

log = logging.getLogger(__name__)

PING_SECONDS = 1.0
FAILED_STARTS_MAX = 5
ENDING_SECONDS = 1.0

Snapshot = Callable[[int], wire.Update]
"""The whole tables under a generation number."""


class WorkersFail(Exception):
    """No worker comes up; what they said is on standard error."""


class Supervisor:
    """Starts, feeds, replaces and drains the workers."""

    def __init__(
        self, listeners: Sequence[Listener], workers: int, snapshot: Snapshot, *, settings: dict[str, Any] | None = None
    ) -> None:
        self.listeners = listeners
        self.ports = Ports(workers, listeners)
        """Those of TCP services."""
        self.slots = workers
        self.snapshot = snapshot
        self.settings = settings or {}
        """What the workers' engines are told, by the names of ingress/proxy/settings.py."""
        self.backend_spec: dict[str, Any] = {}
        """How endpoints are chosen, by the names of BackendSpec there."""
        self.config: wire.Configure | None = None
        """What the controller's ConfigMap says beside that."""
        self.proxy_protocol = False
        """Every connection begins with a PROXY header."""
        self.passthrough: dict[str, tuple[Endpoint, ...]] = {}
        """Server names whose TLS is handed to endpoints undecrypted."""
        self.tickets = TicketKeys(os.urandom, time.monotonic())
        """Sessions of one worker's TLS clients can be resumed with every other."""
        self.tallies_fd = -1
        """What limits count, for all workers together."""
        self.inherited: tuple[int, ...] = ()
        """File descriptors that settings speak of."""
        self.workers: dict[int, Worker] = {}
        self.generation = 0
        self.draining = False
        self.hang_seconds = 0.0
        """A worker that does not answer for so long is replaced; 0: never."""
        self.replaced: Counter[str] = Counter()
        """Workers that ended unasked: "killed", "exited" or "hung" -> how many."""
        self.crashes = [Crashes() for _ in range(workers)]
        self.waiting = 0
        """Slots without a worker because theirs end again and again."""
        self.first_applied = asyncio.Event()
        """Set once every worker serves the first tables."""
        self.on_lost: list[Callable[[Worker], None]] = []
        """Called when a worker has ended, with what it counted last."""
        self.on_refused: list[Callable[[Sequence[wire.Refused]], None]] = []
        """Called with what a worker's engine does not take."""
        self._failed_starts = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def run(self) -> None:
        """Keep every slot filled until `drain` has emptied them. Raises WorkersFail if none ever comes up."""
        self.tallies_fd = make_tallies(self.slots)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                rotation = group.create_task(self._rotate())
                keepers = [group.create_task(self._keep(slot)) for slot in range(self.slots)]
                await asyncio.wait(keepers, return_when=asyncio.ALL_COMPLETED)
                watch.cancel()
                rotation.cancel()
        except ExceptionGroup as group:
            # Not `except*`: what is raised in such a block comes out as a group again, until Python 3.11.3.
            failed, others = group.split(WorkersFail)
            if failed is None or others is not None:
                raise
            raise failed.exceptions[0] from None
        finally:
            for worker in self.workers.values():
                worker.process.kill()
            self._close_listeners()
            os.close(self.tallies_fd)

    def publish(self, changes: Changes) -> None:
        """Tell every worker what has changed; the first time, all there is."""
        whole, self.generation = not self.generation, self.generation + 1
        if changes.config is not None:
            whole = True
            self._configure(changes.config)
        self._open_ports(changes)
        update = wire.update_of(self.generation, changes)
        if whole:
            update = wire.over(update, self.snapshot(self.generation))
        for worker in self.workers.values():
            worker.send(update)

    def _open_ports(self, changes: Changes) -> None:
        """Before the tables that lead to them."""
        if self.draining:
            return
        opened, refused = self.ports.follow(changes.hosts)
        for worker in self.workers.values():
            worker.pass_sockets(self.ports.of_slot(worker.slot, opened))
        for tell in self.on_refused if refused else ():
            tell(refused)

    def _configure(self, config: Config) -> None:
        """Workers go by a changed ConfigMap; everything they have is set anew under it."""
        before = self.config
        self.config = wire.Configure(config.settings, config.backends, config.proxy_protocol)
        if before is not None and before.proxy_protocol != config.proxy_protocol:
            log.warning("use-proxy-protocol has changed: open listeners go on as before; do `causeway upgrade`")
        self.tell(self.config)

    @property
    def serving(self) -> int:
        """How many workers answer requests."""
        return sum(1 for worker in self.workers.values() if worker.applied)

    def tell(self, message: wire.Downward) -> None:
        """Send something to every worker."""
        for worker in self.workers.values():
            worker.send(message)

    async def refresh_stats(self) -> None:
        """Ask every worker what it has counted."""
        await asyncio.gather(*(worker.ask_stats() for worker in list(self.workers.values())))

    async def seen_endpoints(self) -> list[list[EndpointSeen]]:
        """What each worker has seen of its endpoints."""
        return await asyncio.gather(*(worker.ask_endpoints() for worker in list(self.workers.values())))

    async def drain(self, limit_seconds: float) -> bool:
        """Stop accepting and wait until every request is answered; return False if the limit cut some off."""
        self.draining = True
        # First ours, then the workers': from here on nothing new is queued where nobody accepts.
        self._close_listeners()
        for worker in self.workers.values():
            worker.send(wire.Drain())
        try:
            async with asyncio.timeout(limit_seconds):
                await self._idle.wait()
        except TimeoutError:
            pass
        clean = not self.workers
        self.end()
        return clean

    def _close_listeners(self) -> None:
        self.ports.close()
        for listener in self.listeners:
            listener.close()

    def end(self) -> None:
        """End every worker now."""
        self.draining = True
        for worker in self.workers.values():
            worker.process.kill()

    # -- one slot

    async def _keep(self, slot: int) -> None:
        while not self.draining:
            try:
                worker, reader = await self._start(slot)
            except OSError as error:  # no process or descriptor to be had, or the program is being replaced just now
                how, served, who = f"could not be started: {error}", False, f"worker {slot}"
            else:
                await self._listen(worker, reader)
                self._ended(worker)
                if self.draining:
                    return
                why, how = _end_of(worker)
                self.replaced[why] += 1
                served, who = worker.applied > 0, f"worker {slot} (pid {worker.pid})"
            self._failed_starts = 0 if served else self._failed_starts + 1
            if self._failed_starts >= FAILED_STARTS_MAX and not self.first_applied.is_set():
                raise WorkersFail(f"no worker process stays up: the last one {how}")
            pause_seconds = self.crashes[slot].add(asyncio.get_running_loop().time(), how, served=served)
            log.warning("%s %s; replacing it%s", who, how, f" in {pause_seconds:g} s" if pause_seconds else "")
            if pause_seconds:
                self.waiting += 1
                try:
                    await asyncio.sleep(pause_seconds)
                finally:
                    self.waiting -= 1

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(self.tickets.due_seconds - time.monotonic())
            self.rotate_tickets()

    def rotate_tickets(self) -> None:
        """Make tickets by the next key, in every worker."""
        self.tickets.rotate()
        self.tell(wire.TicketKeys(self.tickets.keys))

    async def _watch(self) -> None:
        """Replace workers that are alive and do not answer."""
        while True:
            await asyncio.sleep(PING_SECONDS)
            for worker in self.workers.values():
                owed = worker.ping()
                if self.hang_seconds and owed * PING_SECONDS >= self.hang_seconds and not worker.hangs:
                    log.error(
                        "worker %d (pid %d) has not answered for %g s; ending it",
                        worker.slot,
                        worker.pid,
                        self.hang_seconds,
                    )
                    worker.hangs = True
                    worker.process.kill()

    @property
    def trouble(self) -> str:
        """What an operator should know although requests are answered; "" if nothing."""
        now = asyncio.get_running_loop().time()
        told = [(slot, each.trouble(now)) for slot, each in enumerate(self.crashes)]
        return "; ".join(f"slot {slot}: {text}" for slot, text in told if text)

    async def _start(self, slot: int) -> tuple[Worker, asyncio.StreamReader]:
        lines = tuple(
            wire.ListenerLine(each.fileno(), listener.tls, listener.told or listener.port, self.proxy_protocol)
            for listener in self.listeners
            for each in listener.of_slot(slot, self.slots)
        )
        # On this very thread: the worker ends with the thread that started it (PR_SET_PDEATHSIG).
        worker, line = launch(slot, [self.tallies_fd, *(line.fd for line in lines), *self.inherited])
        reader, writer = await asyncio.open_unix_connection(sock=line)
        worker.connect(writer)
        # No await from here on: the worker gets the tables as they are now and every change after that.
        worker.send(wire.Start(lines, self.settings, self.backend_spec, self.passthrough, slot, self.tallies_fd))
        worker.send(wire.TicketKeys(self.tickets.keys))
        if self.config is not None:
            worker.send(self.config)
        worker.pass_sockets(self.ports.of_slot(slot))
        if self.generation:
            worker.send(self.snapshot(self.generation))
        self.workers[slot] = worker
        self._idle.clear()
        if self.draining:
            worker.process.kill()
        return worker, reader

    async def _listen(self, worker: Worker, reader: asyncio.StreamReader) -> None:
        """Take what the worker says until it is gone."""
        while not worker.drained:
            try:
                message = await wire.receive_upward(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            except msgspec.MsgspecError as error:
                # The program on disk is another version already, and its workers speak differently.
                log.error("worker %d (pid %d) is not understood: %s; ending it", worker.slot, worker.pid, error)
                worker.process.kill()
                break
            worker.take(message)
            if isinstance(message, wire.Applied):
                self._applied(message)
        await asyncio.to_thread(_collect, worker.process)

    def _applied(self, message: wire.Applied) -> None:
        for tell in self.on_refused if message.refused else ():
            tell(message.refused)
        if self.serving == self.slots:
            self.first_applied.set()

    def _ended(self, worker: Worker) -> None:
        del self.workers[worker.slot]
        worker.gone()
        for tell in self.on_lost:
            tell(worker)
        if not self.workers:
            self._idle.set()


def _collect(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a process that has closed its end; if it runs on all the same, it is of no use to anybody."""
    try:
        process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_of(worker: Worker) -> tuple[str, str]:
    """Why it ended, in one word and as the rest of a sentence."""
    code = worker.process.returncode
    if worker.hangs:
        return "hung", "did not answer"
    return "killed" if code is not None and code < 0 else "exited", _how(code)


def _how(code: int | None) -> str:
    """How a process ended, as the rest of a sentence."""
    if code is not None and code < 0:
        return f"was ended by signal {-code} ({signal.Signals(-code).name})"
    return f"ended with code {code}"
