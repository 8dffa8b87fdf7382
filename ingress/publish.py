"""Writes where we can be reached into the status of the Ingresses we serve, and takes it back with the last replica."""

import asyncio
import ipaddress
import logging
import re
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ingress.listeners import BadAddress
from ingress.replicas import Replicas, Work
from ingress.routes.compile import RoutingTable
from lb.cluster.objects import (
    Ingress,
    IngressClass,
    IngressStatus,
    Key,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
)
from lb.cluster.problems import Problem
from lb.cluster.status import StatusFailed, StatusWriter
from lb.reconcile import ApplyFailed, reconcile_forever

if TYPE_CHECKING:
    from ingress.nodes import ReplicaNodes

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
AT_ONCE = 50
"""Ingresses looked at without a pause."""
TAKE_BACK_SECONDS = 10.0
"""What it may take to find out whether other replicas are there."""
CLEAR_SECONDS = 120.0
"""And then, to clear the statuses of thousands of Ingresses."""
CLEARED_AT_ONCE = 16
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NOTHING = IngressStatus()


def read_published(text: str) -> tuple[str, ...]:
    """Read "ADDRESS-OR-NAME[,...]"; BadAddress for what the API server would refuse in a status."""
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        if not _is_address(each) and not _NAME.fullmatch(each):
            raise BadAddress(f'"{each}" is neither an IP address nor a DNS name')
    return found


def read_service(text: str) -> tuple[str, str]:
    """Read "NAMESPACE/NAME". Raises BadAddress."""
    namespace, _, name = text.partition("/")
    if not _NAME.fullmatch(namespace) or not _NAME.fullmatch(name):
        raise BadAddress(f'"{text}" names nothing; write NAMESPACE/NAME')
    return namespace, name


def addresses_of(service: Service) -> tuple[str, ...]:
    """Where clients outside reach a Service, by its type, as ingress-nginx's --publish-service has it."""
    spec = service.spec
    cluster = tuple(ip for ip in (spec.cluster_ips or (spec.cluster_ip,)) if ip not in ("", "None"))
    if spec.type == "ExternalName":
        return (spec.external_name,) if spec.external_name else ()
    if spec.type == "LoadBalancer":
        given = (each.ip or each.hostname for each in service.status.load_balancer.ingress)
        return (*(each for each in given if each), *spec.external_ips)
    if spec.type == "NodePort":
        return spec.external_ips or cluster
    return cluster


def status_of(addresses: Iterable[str]) -> IngressStatus:
    """The status that names these addresses or host names, in a stable order."""
    entries = tuple(
        LoadBalancerIngress(ip=each) if _is_address(each) else LoadBalancerIngress(hostname=each)
        for each in sorted(set(addresses))
    )
    return IngressStatus(load_balancer=LoadBalancerStatus(ingress=entries))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class StatusPublisher:
    """Keeps status.loadBalancer of our Ingresses equal to the given addresses and those of a Service, or to the nodes'.

    Others' Ingresses are left alone. One replica writes at a time.
    """

    def __init__(
        self,
        writer: StatusWriter,
        addresses: Sequence[str] = (),
        *,
        service: tuple[str, str] | None = None,
        nodes: "ReplicaNodes | None" = None,
        replicas: Replicas | None = None,
        takes_back: bool = True,
    ) -> None:
        self.writer = writer
        self.addresses = tuple(addresses)
        self.service = service
        self.nodes = nodes
        self.replicas = replicas or Replicas()
        self.takes_back = takes_back
        self.status: IngressStatus | None = None if service or nodes else status_of(addresses)
        """What every Ingress of ours should say; None: nobody knows, for want of a Service or of a ready replica."""
        self._written: dict[Key, IngressStatus] = {}

    async def run(self, table: RoutingTable, synced: asyncio.Event) -> None:
        """Until cancelled. What cannot be written is tried again; routing goes on meanwhile."""

        async def apply(keys: Sequence[Key] | None) -> None:
            # The API server may be slow: the table is asked for each Ingress when its turn comes.
            moved = self._follow(table)
            every = keys is None or moved or any(key.kind == IngressClass.KIND for key in keys)
            look_at = [*table.store.keys(Ingress.KIND), *self._written] if every else keys or ()
            for number, key in enumerate(look_at):
                if key.kind == Ingress.KIND:
                    await self._write(table, key)
                if number % AT_ONCE == AT_ONCE - 1:
                    await asyncio.sleep(0)  # tables first: they may have changed meanwhile

        async def publish() -> None:
            await reconcile_forever(
                table.store, (Ingress, IngressClass, Service), apply, synced=synced, retry_seconds=RETRY_SECONDS
            )

        if self.nodes is None:
            await self.replicas.while_leading(publish)
        else:
            await self.replicas.while_leading(partial(self._by_nodes, self.nodes, publish))

    async def _by_nodes(self, nodes: "ReplicaNodes", publish: Work) -> None:
        """`publish` anew whenever the replicas are on other nodes."""
        while True:
            looking = asyncio.create_task(nodes.other_than(self.addresses))
            working: list[asyncio.Future[Any]] = (
                [looking] if self.status is None else [looking, asyncio.ensure_future(publish())]
            )
            try:
                for ended in (await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED))[0]:
                    ended.result()  # raises; only `looking` ends by itself
                self.addresses = looking.result()
                self.status = status_of(self.addresses)
            finally:
                for task in working:
                    task.cancel()
                await asyncio.gather(*working, return_exceptions=True)

    async def take_back(self, table: RoutingTable) -> None:
        """Called once `run` has ended: if no other replica is there to write it, nobody is reached here any more."""
        if not self.takes_back or not (self._written or self.status):
            return
        try:
            async with asyncio.timeout(TAKE_BACK_SECONDS) as limit:

                async def clear() -> None:
                    limit.reschedule(asyncio.get_running_loop().time() + CLEAR_SECONDS)
                    await self._clear(table)

                if not await self.replicas.while_last(clear):
                    log.info("another replica goes on: the status of the Ingresses stays")
        except (ApplyFailed, TimeoutError) as error:
            log.warning("the status of the Ingresses could not be taken back: %s", error or "no answer in time")

    async def clear(self, table: RoutingTable, replica: str) -> None:
        """Take back what the replicas have written, of whom `replica` is one. Nobody may write meanwhile."""
        self._follow(table)
        if self.nodes is not None and replica:
            self.nodes.pod = replica
            self.status = status_of(await self.nodes.ask())
        await self._clear(table)

    def _follow(self, table: RoutingTable) -> bool:
        """Look at the Service; return whether what is to be written has changed."""
        if self.service is None:
            return False
        namespace, name = self.service
        found = table.store.get(Service, namespace, name)
        before = self.status
        problems: tuple[Problem, ...] = ()
        if found is not None:
            self.status = status_of((*self.addresses, *addresses_of(found)))
        else:
            reason = "it does not exist, so the status of the Ingresses stays as it is"
            problems = (Problem(f"Service {namespace}/{name}", "", reason, "correct --publish-service"),)
        for new in table.problems.replace("--publish-service", problems):
            log.warning("%s", new)
        return self.status != before

    async def _write(self, table: RoutingTable, key: Key) -> None:
        found = table.ingress(key.namespace, key.name)
        if found is None:
            if self._written.pop(key, None) is not None:
                await self.writer.forget(key)
        elif table.refusal(found):
            if self._written.pop(key, None) == found.status:  # it was ours, and another may have written since
                await self.writer.write_ingress(key, _NOTHING)
        elif self.status is not None:
            if found.status != self.status:
                await self.writer.write_ingress(key, self.status)
            self._written[key] = self.status

    async def _clear(self, table: RoutingTable) -> None:
        ours = [key for key in table.store.keys(Ingress.KIND) if self._is_written(table, key)]
        left = iter(ours)

        async def some() -> None:
            for key in left:
                await self._unwrite(key)

        await asyncio.gather(*(some() for _ in range(CLEARED_AT_ONCE)))
        log.info("the status of %d Ingresses is taken back", len(ours))

    def _is_written(self, table: RoutingTable, key: Key) -> bool:
        found = table.ingress(key.namespace, key.name)
        if found is None or table.refusal(found):
            return False
        # What we wrote last may not have come back yet.
        return key in self._written or (found.status != _NOTHING and found.status == self.status)

    async def _unwrite(self, key: Key) -> None:
        try:
            await self.writer.write_ingress(key, _NOTHING)
            await self.writer.forget(key)
        except StatusFailed as error:
            log.warning("%s", error)
