"""The allocating half: keeps the status of Services equal to what the allocator says. Run by `causeway balancer`."""

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lb.balancer.allocate import Allocator, Outcome
from lb.balancer.pools import Pool, parse_address
from lb.balancer.wish import CLASS
from lb.cluster.folder import STATUS_FOLDER
from lb.cluster.objects import Key, LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceStatus
from lb.cluster.problems import Problems
from lb.cluster.source import Opened
from lb.cluster.status import StatusFailed
from lb.reconcile import reconcile_forever

log = logging.getLogger(__name__)

KINDS = (Service, Node)
WRITES_AT_ONCE = 16
_LOCK_NAME = ".balancer.lock"


class AlreadyRunning(Exception):
    """Another balancer writes the same statuses."""


class Assigner:
    """Gives Services their addresses. It begins with what their statuses say, so a new one moves nothing."""

    def __init__(self, opened: Opened, pools: Sequence[Pool], class_name: str = CLASS) -> None:
        self.problems = Problems()
        self.allocator = Allocator(pools, class_name)
        self._store = opened.store
        self._status = opened.status
        self._synced = opened.source.synced
        self._writes = asyncio.Semaphore(WRITES_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled; the source runs elsewhere."""
        await reconcile_forever(self._store, KINDS, self._apply, synced=self._synced)

    async def _apply(self, keys: Sequence[Key] | None) -> None:
        if keys is None:
            keys = [*self._store.keys(Service.KIND), *self.allocator.holders()]
        self._reserve_node_addresses()
        services = {
            key: self._store.get(Service, key.namespace, key.name)
            for key in dict.fromkeys(keys)
            if key.kind == Service.KIND
        }
        outcomes = self.allocator.settle(services)
        done = await asyncio.gather(
            *(self._write(key, outcome) for key, outcome in outcomes.items()), return_exceptions=True
        )
        failed = [each for each in done if isinstance(each, BaseException)]
        if failed:
            # The others are written; the next full pass writes only what is still missing.
            raise failed[0]

    def _reserve_node_addresses(self) -> None:
        texts = (each.address for node in self._store.all(Node) for each in node.status.addresses)
        self.allocator.reserve(address for text in texts if (address := parse_address(text)) is not None)

    async def _write(self, key: Key, outcome: Outcome) -> None:
        for problem in self.problems.replace(key, outcome.problems):
            log.warning("%s", problem)
        service = self._store.get(Service, key.namespace, key.name)
        async with self._writes:
            if service is None:
                await self._status.forget(key)
                return
            present = tuple(each.ip for each in service.status.load_balancer.ingress)
            if outcome.addresses is None or outcome.addresses == present:
                return
            ingress = tuple(LoadBalancerIngress(ip=each, ip_mode="VIP") for each in outcome.addresses)
            await self._status.write_service(key, ServiceStatus(load_balancer=LoadBalancerStatus(ingress)))
        log.info("%s: %s", key, ", ".join(outcome.addresses) or "no address any more")


async def run_balancer(opened: Opened, make: Callable[[], Assigner], lease_namespace: str) -> None:
    """Run source and assigner until SIGTERM or SIGINT; with an API server, assign only while we hold the Lease."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    parts = [
        asyncio.create_task(opened.source.run()),
        asyncio.create_task(_assign(opened, make, lease_namespace)),
        asyncio.create_task(stop.wait()),
    ]
    try:
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        if opened.connection is not None:
            await opened.connection.close()
    for part in ended:
        part.result()


async def _assign(opened: Opened, make: Callable[[], Assigner], lease_namespace: str) -> None:
    if opened.connection is None:
        await make().run()
        return
    from lb.cluster.lease import Leadership  # imports the Kubernetes client: only where there is an API server

    leadership = Leadership(opened.connection, lease_namespace, "causeway-balancer")
    # A new term begins with the statuses as they are then: another balancer may have written them.
    await leadership.while_leading(lambda: make().run())


@contextmanager
def only_balancer_of(folder: Path) -> Iterator[None]:
    """Hold the lock of a manifest folder's statuses; the kernel lets go of it however the process ends.

    Raises AlreadyRunning, or StatusFailed if the folder cannot be written to.
    """
    with _open_lock(folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise AlreadyRunning(
                f"another balancer (process {owner}) gives out addresses for {folder}; stop that one first"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _open_lock(folder: Path) -> TextIO:
    state = folder / STATUS_FOLDER
    try:
        state.mkdir(exist_ok=True)
        return open(state / _LOCK_NAME, "a+")
    except OSError as error:
        raise StatusFailed(f"{state} cannot be written: {error.strerror}; make {folder} writable") from None
