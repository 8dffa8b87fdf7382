"""Reads the objects of an API server once, for commands that only tell what a proxy would do with them."""

import asyncio

from ingress.routes.compile import RoutingTable
from lb.cluster.source import Opened


async def read_once(opened: Opened, table: RoutingTable, seconds: float) -> None:
    """Fill the store and bring the tables up to date; what these want is read as well.

    Raises TimeoutError if not everything else has been read in time, and what ends the source.
    """
    reading = asyncio.create_task(opened.source.run())
    waiting = asyncio.create_task(opened.source.synced.wait())
    try:
        async with asyncio.timeout(seconds):
            done, _ = await asyncio.wait((reading, waiting), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        table.update(None)
        await opened.source.read_wanted()
        table.update(None)
    finally:
        for task in (reading, waiting):
            task.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
        if opened.connection is not None:
            await opened.connection.close()
