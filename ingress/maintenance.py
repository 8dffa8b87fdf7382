"""What an operator asks of a running proxy: read again what can be read again, give way to the installed code."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from ingress import systemd, wire
from ingress.control import Deed, Line
from ingress.handover import Estate, UpgradeFailed, hand_over
from ingress.routes.flags import NAMESPACE
from lb.cluster.manifests import FolderUnreadable, ManifestFolder
from lb.cluster.objects import EndpointSlice
from lb.reconcile import ApplyFailed

if TYPE_CHECKING:
    from ingress.run import Proxy

log = logging.getLogger(__name__)


class Maintenance:
    """One thing at a time, by signal or by control socket; what was done is logged as well as answered."""

    def __init__(self, proxy: "Proxy") -> None:
        self.proxy = proxy
        self.deeds: dict[str, Deed] = {"reload": self.reload, "upgrade": self.upgrade}
        self.reloaded_well = True
        """Whether the last reload read everything."""
        self._lock = asyncio.Lock()
        self._begun: set[asyncio.Task[None]] = set()

    def begin(self, name: str) -> None:
        """Do it without anybody waiting for the answer."""

        async def do() -> None:
            async for _ in self.deeds[name]():
                pass

        task = asyncio.create_task(do())
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def reload(self) -> AsyncIterator[Line]:
        """Look again at everything that is outside of this process."""
        if self._refused:
            yield self._refused
            return
        async with self._lock:
            systemd.notify_reloading()
            self.reloaded_well = True
            try:
                for line in self._reload():
                    if line.ok is False:
                        self.reloaded_well = False
                    log.log(logging.INFO if line.ok is not False else logging.ERROR, "reload: %s", line.text)
                    yield Line(line.text)
            finally:
                systemd.notify(READY=1)  # or it waits for that, and kills us in the end
            yield Line("done" if self.reloaded_well else "not everything could be read again", ok=self.reloaded_well)

    def _reload(self) -> Iterator[Line]:
        plan = self.proxy.plan
        if plan.access_log_path is not None:
            yield self._open_log()
        try:
            found = list(plan.objects_of_flags())
            changed = sum(map(plan.store.put, found))
            said = {each.key for each in found}
            for key in plan.store.keys(EndpointSlice.KIND):
                if key.namespace == NAMESPACE and key not in said:  # a name has no such address any more
                    changed += plan.store.remove(key)
            if found:
                yield Line(f"names in the flags looked up: {changed or 'no'} changes")
        except ValueError as error:
            yield Line(f"flags stay as they were read: {error}", ok=False)
        if isinstance(plan.source, ManifestFolder):
            try:
                plan.source.load()
                yield Line(f"{plan.source.folder} read again: {len(plan.source.problems)} problems")
            except FolderUnreadable as error:
                yield Line(str(error), ok=False)
        names = self.proxy.table.external_names()
        if names:
            self.proxy.names.forget_ages()
            yield Line(f"{len(names)} names of ExternalName Services are being looked up")
        try:
            self.proxy.controller.refresh()
        except ApplyFailed as error:
            yield Line(str(error), ok=False)
        table = self.proxy.table
        routes = sum(len(each.routes) for each in table.hosts.values())
        yield Line(f"tables compiled anew: {len(table.hosts)} hosts, {routes} routes, {len(table.problems)} problems")

    def _open_log(self) -> Line:
        """New workers inherit the new file, those at work open it themselves."""
        path, supervisor = self.proxy.plan.access_log_path, self.proxy.supervisor
        assert path is not None
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            return Line(f"--access-log {path}: {error.strerror}; the old file is written on", ok=False)
        for fd in supervisor.inherited:
            os.close(fd)
        supervisor.settings = {**supervisor.settings, "access_log_fd": made}
        supervisor.inherited = (made,)
        supervisor.tell(wire.OpenLog(os.path.abspath(path)))
        return Line(f"access log {path} opened anew")

    async def upgrade(self) -> AsyncIterator[Line]:
        """Start what is installed now on our sockets; once it serves, drain and end."""
        if self._refused:
            yield self._refused
            return
        async with self._lock:
            proxy = self.proxy
            log.info("upgrade: starting the installed code")
            yield Line("starting the installed code")
            try:
                successor = await hand_over(self._estate())
            except UpgradeFailed as error:
                log.error("upgrade: %s; this process goes on", error)
                yield Line(f"{error}; process {os.getpid()} goes on", ok=False)
                return
            if proxy.stop.asked.is_set():  # meanwhile; who asks for the end means the next one too
                successor.end()
                yield Line("this process is draining; the upgrade is given up", ok=False)
                return
            log.info("upgrade: process %d serves; this one drains", successor.pid)
            proxy.successor = successor
            try:
                yield Line(f"process {successor.pid} serves; process {os.getpid()} drains", ok=True)
            finally:
                proxy.stop.asked.set()

    def _estate(self) -> Estate:
        plan, supervisor = self.proxy.plan, self.proxy.supervisor
        return Estate([*plan.listeners, *supervisor.ports.listeners], plan.admin, supervisor.tickets.handed())

    @property
    def _refused(self) -> Line | None:
        if self.proxy.stop.asked.is_set():
            return Line("this process is draining", ok=False)
        if self._lock.locked():
            return Line("something is under way already", ok=False)
        return None
