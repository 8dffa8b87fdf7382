"""`causeway ingress --withdraw`: takes the statuses of Ingresses back while the replicas are still there.

Whoever uninstalls takes the rights to write statuses away before the pods have ended. So this runs before: it takes the
Lease from whoever leads, so that nobody writes the statuses again, and clears them.
"""

import asyncio
import logging

import click

from ingress.publish import StatusPublisher
from ingress.replicas import LeaseReplicas
from ingress.routes.classes import Selection
from ingress.routes.compile import RoutingTable
from lb.cluster.connection import ApiFailed
from lb.cluster.source import Opened
from lb.reconcile import ApplyFailed

log = logging.getLogger(__name__)

SYNC_SECONDS = 30.0
HELD_SECONDS = 120
"""So long the Lease stays ours after the end: what is not uninstalled by then writes its statuses again."""


def withdraw(opened: Opened, selection: Selection, publisher: StatusPublisher | None, replicas: LeaseReplicas) -> None:
    """Clear what `publisher` says in the Ingresses of this selection. Raises click.ClickException."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if publisher is None or not publisher.takes_back:
        log.info("nothing is published, or it is to stay")
        return
    try:
        asyncio.run(_withdraw(opened, RoutingTable(opened.store, selection), publisher, replicas))
    except (ApiFailed, ApplyFailed) as error:
        raise click.ClickException(f"the statuses of Ingresses stay: {error}") from None
    except TimeoutError:
        reasons = "; ".join(map(str, opened.source.problems)) or "it has not answered"
        raise click.ClickException(f"the statuses of Ingresses stay: the API server: {reasons}") from None


async def _withdraw(opened: Opened, table: RoutingTable, publisher: StatusPublisher, replicas: LeaseReplicas) -> None:
    following = asyncio.create_task(opened.source.run())
    try:
        async with asyncio.timeout(SYNC_SECONDS):
            await opened.source.synced.wait()
            leader = await replicas.seize(HELD_SECONDS)
        await publisher.clear(table, leader)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        if opened.connection is not None:
            await opened.connection.close()
