"""The one loop that keeps the world equal to the store: dirty keys -> plan and apply -> settle, retry.

Level-triggered: it asks "what should be true for this key now?", never "what has just changed?". The cost of a change
depends on the change; a full pass happens at the start, after a failure, and as slow drift repair.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from lb.cluster.objects import Key, Object
from lb.cluster.store import ObjectStore

log = logging.getLogger(__name__)

Apply = Callable[[Sequence[Key] | None], Awaitable[None]]
"""Bring these keys (None: everything) in line with the store. Idempotent: it may be called again with the same keys."""


class ApplyFailed(Exception):
    """The world could not be changed now; the same keys are tried again, as a full pass."""


async def reconcile_forever(
    store: ObjectStore,
    kinds: Sequence[type[Object]],
    apply: Apply,
    *,
    synced: asyncio.Event,
    settle_seconds: float = 0.0,
    retry_seconds: float = 1.0,
    drift_seconds: float | None = None,
) -> None:
    """Run until cancelled: wait for `synced`, make one full pass, then follow the changes of `kinds`.

    settle_seconds: how long to gather changes before applying them; a rollout sends hundreds a second.
    drift_seconds: how often everything is looked at again although nothing has changed (None: never).
    """
    pending = asyncio.Event()
    subscription = store.subscribe(kinds, pending.set)
    try:
        # Before the first full list an empty store reads as "delete everything".
        await synced.wait()
        full = True
        while True:
            pending.clear()
            keys = subscription.take()
            try:
                await apply(None if full else keys)
                full = False
            except ApplyFailed as error:
                log.warning("%s; trying again in %g s", error, retry_seconds)
                full = True
                await asyncio.sleep(retry_seconds)
                continue
            full = not await _changed(pending, drift_seconds)
            if settle_seconds and not full:
                await asyncio.sleep(settle_seconds)
    finally:
        store.unsubscribe(subscription)


async def _changed(pending: asyncio.Event, drift_seconds: float | None) -> bool:
    """Wait for a change: True; or until it is time to look at everything: False."""
    try:
        async with asyncio.timeout(drift_seconds):
            await pending.wait()
    except TimeoutError:
        return False
    return True
