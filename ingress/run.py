"""The proxy as a whole, from start to drained stop: source, controller, workers, admin endpoint, signals."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ingress import systemd, wire
from ingress.control import ControlSocket
from ingress.controller import Controller
from ingress.handover import Predecessor, Successor
from ingress.health import HealthChecks
from ingress.listeners import Address, Listener
from ingress.maintenance import Maintenance
from ingress.names import AGAIN_SECONDS, Names
from ingress.observe.admin import AdminEndpoint
from ingress.observe.requests import Shape
from ingress.observe.totals import Totals
from ingress.publish import StatusPublisher
from ingress.routes.classes import Selection
from ingress.routes.compile import FOLDER_KINDS, RoutingTable
from ingress.routes.model import Certificate, Changes, Defaults, Endpoint
from ingress.supervisor import Supervisor
from ingress.tuning import Tuning
from lb.cluster.objects import Object
from lb.cluster.source import Source
from lb.cluster.store import ObjectStore
from lb.reconcile import ApplyFailed, reconcile_forever

log = logging.getLogger(__name__)

DRIFT_SECONDS = 600.0
ROWS = 50
"""Of counters, added up at a time: less than a millisecond's work."""
STATS_PERIOD_SECONDS = 5.0
"""How often workers are asked what they have counted: so much is lost of the counts of one that is killed."""

ECHO_SECONDS = 0.3
"""A second signal so soon is the first one's echo: timeout(1) and shells signal the process and then its group."""

Duty = Callable[[RoutingTable], Coroutine[Any, Any, None]]


@dataclass(kw_only=True)
class Plan:
    """What the command line has asked for, with everything open that could fail to open."""

    store: ObjectStore
    source: Source
    selection: Selection
    listeners: list[Listener]
    workers: int
    defaults: Defaults = field(default_factory=Defaults)
    health_path: str = ""
    """Of the admin endpoint: answers as ingress-nginx's health check."""
    admin: socket.socket | None = None
    publisher: StatusPublisher | None = None
    duties: Sequence[Duty] = ()
    """What only the supervisor in charge does beside: Events, the admission webhook. They end by being cancelled."""
    default_certificate: Certificate | None = None
    drain_delay_seconds: float = 0.0
    drain_seconds: float = 30.0
    engine_settings: dict[str, Any] = field(default_factory=dict)
    """By the names of ingress/proxy/settings.py."""
    hang_seconds: float = 0.0
    resolve_seconds: float = AGAIN_SECONDS
    tuning: Tuning = field(default_factory=Tuning)
    proxy_protocol: bool = False
    """Every connection begins with a PROXY header."""
    passthrough: dict[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    """Server names whose TLS is handed to endpoints undecrypted."""
    access_log: int | None = None
    """A file descriptor that every worker appends whole lines to."""
    access_log_path: Path | None = None
    """What is opened again on reload; None for standard output."""
    control: Path | None = None
    """Where to put the control socket; None: where `causeway reload` looks for it."""
    metrics: Shape = field(default_factory=Shape)
    predecessor: Predecessor | None = None
    """The supervisor whose place we take, if there is one."""
    objects_of_flags: Callable[[], Iterable[Object]] = field(default=tuple)
    """Reads the flags again: names in them are looked up. Raises ValueError."""


class Stop:
    """Signals: the first asks for an orderly end, the second for one at once."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self._first_seconds = 0.0

    def take(self, name: str) -> None:
        now_seconds = asyncio.get_running_loop().time()
        if not self.asked.is_set():
            self._first_seconds = now_seconds
        elif now_seconds - self._first_seconds < ECHO_SECONDS:
            return
        if self.asked.is_set():
            log.warning("%s again: ending at once", name)
            self.at_once.set()
        else:
            log.info("%s: draining", name)
            self.asked.set()


class Proxy:
    """Everything that runs in the supervisor process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names = Names(
            lambda: self.table.external_names(),
            self._name_changed,
            local=plan.selection.standalone,
            again_seconds=plan.resolve_seconds,
        )
        self.table = RoutingTable(plan.store, plan.selection, names=self.names.answers, defaults=plan.defaults)
        self.supervisor = Supervisor(plan.listeners, plan.workers, self._snapshot)
        self.supervisor.hang_seconds = plan.hang_seconds
        self.supervisor.settings |= plan.engine_settings | plan.tuning.settings
        self.supervisor.backend_spec = plan.tuning.backends
        self.supervisor.proxy_protocol = plan.proxy_protocol
        self.supervisor.passthrough = plan.passthrough
        if plan.predecessor is not None:
            self.supervisor.ports.inherit(plan.predecessor.ports)
            if not self.supervisor.tickets.take(plan.predecessor.keys):
                log.info("TLS sessions begin anew: the supervisor before this one has no keys for us")
        if plan.access_log is not None:
            self.supervisor.settings["access_log_fd"] = plan.access_log
            self.supervisor.inherited = (plan.access_log,)
        self.controller = Controller(self.table, self._publish, default_certificate=plan.default_certificate)
        self.controller.before_first = self._before_first
        check = plan.tuning.health_check
        self.health = HealthChecks(check, self.supervisor.publish) if check is not None else None
        self.totals = Totals(plan.metrics.bounds)
        self.stop = Stop()
        self.maintenance = Maintenance(self)
        self.successor: Successor | None = None
        """The supervisor that has taken our place: we only finish what is under way."""
        self.in_charge = asyncio.Event()
        """Set while we do what only one supervisor at a time may do: admin endpoint, control socket, statuses."""
        self.supervisor.on_lost.append(self.totals.lost)
        self.supervisor.on_refused.append(self.controller.take_refused)

    def _snapshot(self, generation: int) -> wire.Update:
        update = self.controller.snapshot(generation)
        return update if self.health is None else self.health.snapshot(update)

    def _publish(self, changes: Changes) -> None:
        if self.health is not None:
            if not self.supervisor.generation:  # the first time the workers get all there is, whatever has changed
                self.health.take(Changes(backends=dict(self.table.backends)))
            changes = self.health.take(changes)
        self.supervisor.publish(changes)
        if changes.backends:
            self.names.wake()
        if changes.hosts:
            self.totals.routes_changed(changes.hosts)

    async def _before_first(self) -> None:
        """What the first tables need from outside: addresses of names, and Secrets."""
        await asyncio.gather(self.names.first(), self.plan.source.read_wanted())

    def _name_changed(self, name: str) -> None:
        if not self.controller.applied:
            return  # asked for by the first pass, which goes on now
        with contextlib.suppress(ApplyFailed):  # logged; the next full pass tries again
            self.controller.refresh(self.table.services_named(name))

    @property
    def not_ready(self) -> str:
        """Why no request should be sent here now; "" if all is well."""
        if self.stop.asked.is_set():
            return "draining"
        if not self.plan.source.synced.is_set():
            return "the objects have not been read yet"
        if not self.supervisor.first_applied.is_set():
            return "the workers do not serve the first tables yet"
        if self.supervisor.serving:
            return ""
        trouble = self.supervisor.trouble
        return f"no worker is up: {trouble}" if trouble else "no worker is up"

    @property
    def drain_seconds(self) -> float:
        """What requests under way get when we stop: --drain, unless the ConfigMap has worker-shutdown-timeout."""
        told = self.table.config.drain_seconds
        return self.plan.drain_seconds if told is None else told

    async def run(self) -> bool:
        """Serve until a signal asks for the end; return False if a second one cut it short. Raises what went wrong."""
        self._hear()
        for listener in self.plan.listeners:
            log.info("listening on %s", listener)
        if self.plan.admin is not None:
            log.info("admin endpoint on http://%s", Address(*self.plan.admin.getsockname()[:2]))
        log.info("%d worker processes", self.plan.workers)
        tasks = [asyncio.create_task(each) for each in self._parts()]
        fronting, publishing = asyncio.create_task(self._front()), asyncio.create_task(self._do_duties())
        asked = asyncio.create_task(self.stop.asked.wait())
        tasks += (fronting, publishing)
        try:
            await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # raises: none of them ends by itself
            if self.successor is not None:
                await _cancelled(fronting, publishing)
                systemd.notify(MAINPID=self.successor.pid)
                return await self._give_way(self.successor)
            systemd.notify(STOPPING=1)
            return await self._stop(publishing, tasks)
        finally:
            await _cancelled(asked, *tasks)
            if self.health is not None:
                await self.health.close()

    async def _give_way(self, successor: Successor) -> bool:
        """Everything is the successor's from here on; what our workers count until their last request, too."""

        async def tell() -> None:
            while True:
                await asyncio.sleep(STATS_PERIOD_SECONDS)
                await self.refresh_stats()
                await successor.tell(self.totals.hand_out())

        await self.refresh_stats()
        await successor.take_over()
        await successor.tell(self.totals.hand_out())
        telling = asyncio.create_task(tell())
        try:
            return await self._drain(0.0)
        finally:
            await _cancelled(telling)
            await successor.tell(self.totals.hand_out())
            await successor.leave()

    async def _stop(self, publishing: "asyncio.Task[None]", tasks: "list[asyncio.Task[None]]") -> bool:
        # While load balancers take notice: whoever follows the status is a load balancer too.
        clearing = asyncio.create_task(self._take_back(publishing))
        tasks.append(clearing)
        finished = await self._drain(self.plan.drain_delay_seconds)
        at_once = asyncio.create_task(self.stop.at_once.wait())
        await asyncio.wait([clearing, at_once], return_when=asyncio.FIRST_COMPLETED)
        await _cancelled(at_once)
        return finished

    def _hear(self) -> None:
        """Take signals: SIGTERM and SIGINT stop, SIGHUP reloads, SIGUSR2 upgrades."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.take, number.name)
        terminal = os.isatty(0)

        def hung_up() -> None:
            if terminal and not os.isatty(0):  # closed: nobody is there to press Ctrl-C
                self.stop.take("the terminal is gone")
            else:
                self.maintenance.begin("reload")

        loop.add_signal_handler(signal.SIGHUP, hung_up)
        loop.add_signal_handler(signal.SIGUSR2, self.maintenance.begin, "upgrade")

    # -- what runs

    def _parts(self) -> list[Coroutine[Any, Any, None]]:
        plan = self.plan
        return [
            self.supervisor.run(),
            plan.source.run(),
            reconcile_forever(
                plan.store,
                FOLDER_KINDS,
                self.controller.apply,
                synced=plan.source.synced,
            ),
            self._look_again(),
            self.names.run(),
            self._count(),
            self._begin(),
        ]

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(DRIFT_SECONDS)
            if self.controller.applied:
                await self.controller.look_again()

    async def _begin(self) -> None:
        """Say when we serve, and to whom it matters."""
        predecessor = self.plan.predecessor
        if predecessor is None:
            self.in_charge.set()
        await self.plan.source.synced.wait()
        await self.supervisor.first_applied.wait()
        # What has been read stays for long: a walk over all of it, as it grows on, would hold up changes.
        gc.freeze()
        if predecessor is not None:
            predecessor.say_ready()
            await predecessor.let_go()
            counts = predecessor.counts()
            self._inherit(await anext(counts, b""))  # before anybody looks: no sum is ever less than it was
            log.info("the supervisor before this one has let go")
            self.in_charge.set()
        systemd.notify(READY=1, MAINPID=os.getpid(), STATUS=f"serving with {self.plan.workers} workers")
        if predecessor is not None:
            async for more in counts:
                self._inherit(more)
        await asyncio.Event().wait()

    def _inherit(self, counts: bytes) -> None:
        try:
            if counts:
                self.totals.inherit(counts)
        except (ValueError, msgspec.MsgspecError) as error:
            log.warning("counters begin anew: %s", error)

    async def _front(self) -> None:
        """What operators talk to."""
        await self.in_charge.wait()
        doors = [ControlSocket(self.plan.control, self.maintenance.deeds).run()]
        if self.plan.admin is not None:
            doors.append(AdminEndpoint(self, self.plan.admin).run())
        await asyncio.gather(*doors)

    async def _do_duties(self) -> None:
        await self.in_charge.wait()
        async with asyncio.TaskGroup() as group:
            if self.plan.publisher is not None:
                group.create_task(self.plan.publisher.run(self.table, self.plan.source.synced))
            for duty in self.plan.duties:
                group.create_task(duty(self.table))
            group.create_task(asyncio.Event().wait())

    async def _take_back(self, publishing: "asyncio.Task[None]") -> None:
        await _cancelled(publishing)
        if self.plan.publisher is not None:
            await self.plan.publisher.take_back(self.table)

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(STATS_PERIOD_SECONDS)
            await self.refresh_stats()

    async def refresh_stats(self) -> None:
        """Bring the totals up to date with what the workers have counted."""
        await self.supervisor.refresh_stats()
        workers = self.supervisor.workers
        for worker in list(workers.values()):
            # One that was lost meanwhile has been taken as a whole.
            while workers.get(worker.slot) is worker and self.totals.take(worker, ROWS):  # noqa: ASYNC110
                await asyncio.sleep(0)
        self.totals.all_taken()

    async def _drain(self, delay_seconds: float) -> bool:
        """Not ready any more; a moment later no new connections; then until the last request or the limit."""
        at_once = asyncio.create_task(self.stop.at_once.wait())
        try:
            await asyncio.wait([at_once], timeout=delay_seconds)
            drain = asyncio.create_task(self.supervisor.drain(self.drain_seconds))
            await asyncio.wait([at_once, drain], return_when=asyncio.FIRST_COMPLETED)
            if not drain.done():
                self.supervisor.end()
                await drain
                return False
            if drain.result():
                log.info("every request is finished")
            else:
                log.warning("requests were cut off: not finished within %g s (--drain)", self.drain_seconds)
            return True
        finally:
            at_once.cancel()


async def _cancelled(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
