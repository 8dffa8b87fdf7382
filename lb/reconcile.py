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

    settle_seconds: how far apart two passes are at least, so that what a rollout sends by the hundred is gathered; a
    change after a quiet time is applied at once.
    drift_seconds: how long after a full pass everything is looked at again, whatever changes meanwhile (None: never).
    Raises what `apply` raises, other than ApplyFailed.
    """
    clock = asyncio.get_running_loop().time
    pending = asyncio.Event()
    subscription = store.subscribe(kinds, pending.set)
    failure = ""
    full_at: float | None = None
    try:
        # Before the first full list an empty store reads as "delete everything".
        await synced.wait()
        full = True
        while True:
            pending.clear()
            keys = subscription.take()
            if full:
                full_at = None if drift_seconds is None else clock() + drift_seconds
            settled_at = clock() + settle_seconds
            try:
                await apply(None if full else keys)
            except ApplyFailed as error:
                if str(error) != failure:  # once, not with every try
                    log.warning("%s; trying again every %g s", error, retry_seconds)
                failure, full = str(error), True
                await asyncio.sleep(retry_seconds)
                continue
            if failure:
                log.info("it works again: %s", failure)
                failure = ""
            changed = await _changed(pending, full_at)
            if changed and clock() < settled_at:
                await asyncio.sleep(settled_at - clock())
            full = not changed or (full_at is not None and clock() >= full_at)
    finally:
        store.unsubscribe(subscription)


async def _changed(pending: asyncio.Event, until: float | None) -> bool:
    """Wait for a change: True; or until a time of the loop's clock: False."""
    try:
        async with asyncio.timeout_at(until):
            await pending.wait()
    except TimeoutError:
        return False
    return True
