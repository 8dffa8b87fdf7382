"""Several proxies serve the same Ingresses: who of them writes statuses, and is one the last to stop?

At an API server a Lease decides, as in lb/cluster/lease.py. Beside a folder everybody may write, the values being the
same; a lock on a file tells the last one, also after `kill -9` of others.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.cluster.connection import Connection

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]

LEASE_NAME = "causeway-ingress"
LOCK_NAME = ".ingress-replicas"
"""In the status folder; a hidden name is not read as a manifest."""


class Replicas:
    """This process is the only one."""

    name = ""
    """What is being held to lead; "" without an election."""

    @property
    def leading(self) -> bool:
        return True

    async def while_leading(self, work: Work) -> None:
        """Run `work` whenever it is our turn, until cancelled."""
        await work()

    async def while_last(self, work: Work) -> bool:
        """Run `work` once if no other replica is there, and none may take over meanwhile; return whether it was."""
        await work()
        return True


class FolderReplicas(Replicas):
    """Those that hold a shared lock on a file in the status folder of a manifest folder."""

    def __init__(self, status_folder: Path) -> None:
        self.path = status_folder / LOCK_NAME
        self._held = -1

    async def while_leading(self, work: Work) -> None:
        try:
            self.path.parent.mkdir(exist_ok=True)
            self._held = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._held, fcntl.LOCK_SH)
        except OSError as error:
            log.warning("%s: %s; the status of Ingresses stays when this proxy stops", self.path, error.strerror)
        await work()

    async def while_last(self, work: Work) -> bool:
        if self._held < 0:
            return False
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            await work()
        except BlockingIOError:
            return False
        finally:
            os.close(self._held)
            self._held = -1
        return True


class LeaseReplicas(Replicas):
    """Those that wait for the same Lease."""

    def __init__(self, connection: "Connection", namespace: str, name: str) -> None:
        # Imports the Kubernetes client: only where there is an API server.
        from lb.cluster.lease import RENEW_SECONDS, Leadership

        self.name = name
        self._make = partial(Leadership, connection, namespace, name)
        self._leadership = self._make()
        self._has_led = False
        self._turn_seconds = 2 * RENEW_SECONDS
        """Whoever waits for the Lease has asked for it by then."""

    @property
    def leading(self) -> bool:
        return self._leadership.leading

    async def while_leading(self, work: Work) -> None:
        async def led() -> None:
            self._has_led = True
            await work()

        await self._leadership.while_leading(led)

    async def seize(self, seconds: int) -> str:
        """Take the Lease for so long from whoever holds it; when this returns, nobody leads.

        Returns the pod, or machine, that has led; "" if nobody has. Raises ApiFailed.
        """
        holder = await self._leadership.seize(seconds)
        if holder:
            await asyncio.sleep(self._turn_seconds)
        return holder.partition("_")[0]

    async def while_last(self, work: Work) -> bool:
        """`while_leading` has let the Lease go: if nobody takes it now, nobody is there."""
        if not self._has_led:
            return False
        await asyncio.sleep(self._turn_seconds)
        begun, last = asyncio.Event(), asyncio.Event()

        async def once() -> None:
            begun.set()
            await work()
            last.set()
            await asyncio.Event().wait()

        self._leadership = self._make()
        leading = asyncio.create_task(self._leadership.while_leading(once))
        waits = [asyncio.create_task(each.wait()) for each in (begun, last)]
        try:
            await asyncio.wait((leading, waits[0]), timeout=self._turn_seconds, return_when=asyncio.FIRST_COMPLETED)
            if begun.is_set():  # the Lease is ours: the work takes as long as it takes
                await asyncio.wait((leading, waits[1]), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (leading, *waits):
                task.cancel()
            await asyncio.gather(leading, *waits, return_exceptions=True)
        return last.is_set()
