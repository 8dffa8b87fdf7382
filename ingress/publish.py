"""Writes where we can be reached into the status of the Ingresses we serve."""

import asyncio
import ipaddress
import re
from collections.abc import Sequence

from ingress.listeners import BadAddress
from ingress.routes.compile import RoutingTable
from lb.cluster.objects import Ingress, IngressClass, IngressStatus, Key, LoadBalancerIngress, LoadBalancerStatus
from lb.cluster.status import StatusWriter
from lb.reconcile import reconcile_forever

RETRY_SECONDS = 2.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def read_published(text: str) -> tuple[str, ...]:
    """Read "ADDRESS-OR-NAME[,...]"; BadAddress for what the API server would refuse in a status."""
    found = tuple(each.strip() for each in text.split(",") if each.strip())
    for each in found:
        if not _is_address(each) and not _NAME.fullmatch(each):
            raise BadAddress(f'"{each}" is neither an IP address nor a DNS name')
    return found


def status_of(addresses: Sequence[str]) -> IngressStatus:
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
    """Keeps status.loadBalancer of our Ingresses equal to the given addresses; others' are left alone."""

    def __init__(self, writer: StatusWriter, addresses: Sequence[str]) -> None:
        self.writer = writer
        self.status = status_of(addresses)

    async def run(self, table: RoutingTable, synced: asyncio.Event) -> None:
        """Until cancelled. What cannot be written is tried again; routing goes on meanwhile."""

        async def apply(keys: Sequence[Key] | None) -> None:
            # The API server may be slow: the table is asked for each Ingress when its turn comes.
            every = keys is None or any(key.kind == IngressClass.KIND for key in keys)
            wanted = table.store.keys(Ingress.KIND) if every else keys or ()
            for key in wanted:
                await self._write(table, key)

        await reconcile_forever(table.store, (Ingress, IngressClass), apply, synced=synced, retry_seconds=RETRY_SECONDS)

    async def _write(self, table: RoutingTable, key: Key) -> None:
        found = table.ingress(key.namespace, key.name)
        if found is None or table.refusal(found) or found.status == self.status:
            return
        await self.writer.write_ingress(key, self.status)
