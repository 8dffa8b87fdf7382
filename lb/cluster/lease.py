"""One at a time: leader election by a Lease of the API server (coordination.k8s.io/v1).

Clocks of machines differ, so nobody compares the times written in a Lease with its own: a holder is taken for gone when
the Lease has not changed for its whole duration by the watcher's own clock (as client-go's leaderelection does it).
"""

import asyncio
import datetime
import logging
import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from lb.cluster.connection import ApiFailed, Connection

log = logging.getLogger(__name__)

DURATION_SECONDS = 8
"""So long nobody leads after a leader was killed; half of client-go's default."""
RENEW_SECONDS = 1.5
SEIZE_TRIES = 5
GIVE_UP_SECONDS = 5.0
"""Without a renewal for so long a leader stops: well before anybody else may begin."""


class LeaseRecord(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of a Lease."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None
    renew_time: str | None = None


class _LeaseMetadata(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""


class _Lease(msgspec.Struct, frozen=True):
    metadata: _LeaseMetadata = _LeaseMetadata()
    spec: LeaseRecord = LeaseRecord()


class Watched:
    """Since when has a Lease not changed? By our own clock; pure."""

    def __init__(self) -> None:
        self._record: LeaseRecord | None = None
        self._since = 0.0

    def may_take(self, record: LeaseRecord, me: str, now: float) -> bool:
        """Is the Lease ours, free, or its holder gone? `now`: seconds of a clock that never goes back."""
        if record != self._record:
            self._record, self._since = record, now
        if record.holder_identity in (None, "", me):
            return True
        return now - self._since > (record.lease_duration_seconds or DURATION_SECONDS)


class Leadership:
    """Runs something while this process, and no other, holds the Lease `namespace`/`name`."""

    def __init__(self, connection: Connection, namespace: str, name: str) -> None:
        self.identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.leading = False
        self._connection = connection
        self._name, self._namespace = name, namespace
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._watched = Watched()
        self._holder: str | None = None
        self._complaint = ""

    async def while_leading(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` whenever we lead, cancel it when we do no more; until cancelled, then the Lease is let go."""
        try:
            while True:
                if not await self._try():
                    await asyncio.sleep(RENEW_SECONDS)
                    continue
                self.leading = True
                log.info("leading: %s holds Lease %s/%s", self.identity, self._namespace, self._name)
                await self._lead(work)
                self.leading = False
                log.warning("no longer leading; waiting for Lease %s/%s", self._namespace, self._name)
        finally:
            if self.leading:
                self.leading = False
                await self._let_go()

    async def seize(self, seconds: int) -> str:
        """Take the Lease for so long, whoever holds it, and keep it: who leads stops within RENEW_SECONDS and a little.

        Returns who has held it. Raises ApiFailed.
        """
        for left in reversed(range(SEIZE_TRIES)):
            lease = await self._read()
            try:
                await self._write(self.identity, seconds, lease, (lease.spec.lease_transitions or 0) + 1)
                break
            except ApiFailed as error:
                if error.status != 409 or not left:  # its holder has just renewed it
                    raise
        return lease.spec.holder_identity or ""

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Returns when the Lease is lost; what `work` raises is raised."""
        working = asyncio.ensure_future(work())
        try:
            loop = asyncio.get_running_loop()
            renewed = loop.time()
            while loop.time() - renewed < GIVE_UP_SECONDS:
                await asyncio.wait([working], timeout=RENEW_SECONDS)
                if working.done():
                    working.result()
                    return
                try:
                    async with asyncio.timeout(GIVE_UP_SECONDS - RENEW_SECONDS):
                        if await self._try():
                            renewed = loop.time()
                        elif self._holder != self.identity:
                            return
                except TimeoutError:
                    continue
        finally:
            working.cancel()
            await asyncio.wait([working])

    async def _try(self) -> bool:
        """Take or renew the Lease; False if another holds it, or the API server cannot be asked."""
        try:
            lease = await self._read()
            self._holder = lease.spec.holder_identity
            if not self._watched.may_take(lease.spec, self.identity, asyncio.get_running_loop().time()):
                return False
            gained = self._holder != self.identity
            transitions = (lease.spec.lease_transitions or 0) + gained
            await self._write(self.identity, DURATION_SECONDS, lease, transitions)
            self._holder = self.identity
            self._complaint = ""
        except (ApiFailed, msgspec.MsgspecError) as error:
            if isinstance(error, ApiFailed) and error.status == 409:
                log.debug("another one was quicker")  # the next read tells who
            elif str(error) != self._complaint:
                self._complaint = str(error)
                log.warning("Lease %s/%s: %s; it is tried again", self._namespace, self._name, error)
            return False
        return True

    async def _let_go(self) -> None:
        try:
            async with asyncio.timeout(2.0):
                lease = await self._read()
                if lease.spec.holder_identity == self.identity:
                    await self._write("", 1, lease, lease.spec.lease_transitions or 0)
        except (ApiFailed, msgspec.MsgspecError, TimeoutError) as error:
            log.info("Lease not let go, it ends by itself: %s", error)

    async def _read(self) -> _Lease:
        try:
            return msgspec.json.decode(await self._connection.get(f"{self._folder}/{self._name}"), type=_Lease)
        except ApiFailed as error:
            if error.status != 404:
                raise
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {},
        }
        return msgspec.json.decode(await self._connection.post(self._folder, body), type=_Lease)

    async def _write(self, holder: str, duration_seconds: int, before: _Lease, transitions: int) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration_seconds,
            "renewTime": now,
            "leaseTransitions": transitions,
        }
        if before.spec.holder_identity != holder:
            spec["acquireTime"] = now
        # With the version it was decided on: if another one has written in between, the API server answers 409.
        metadata = {"resourceVersion": before.metadata.resource_version}
        await self._connection.patch(f"{self._folder}/{self._name}", {"metadata": metadata, "spec": spec})
