"""What a worker offers its filters: time, threads, tasks, requests of its own."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ingress.fetches import Fetches
from ingress.filters.api import Answer, Fields
from ingress.proxy import Engine
from ingress.tallies import Tallies, make_tallies

log = logging.getLogger(__name__)

THREADS = 4
"""Password hashes and the like, side by side; more would take the core from the loop."""


class WorkerTools:
    """The `Tools` of ingress/filters/api.py."""

    def __init__(self, engine: Engine, tallies: Tallies | None = None) -> None:
        """engine: asks for what is fetched; tallies: what all workers share, None if there are no others."""
        self.fetches = Fetches(engine)
        self.tallies = tallies or Tallies(make_tallies(1), 0)
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        fields: Fields = (),
        body: bytes = b"",
        timeout_seconds: float = 60.0,
        limit_bytes: int = 65536,
    ) -> Answer:
        return await self.fetches.fetch(
            url, method=method, fields=fields, body=body, timeout_seconds=timeout_seconds, limit_bytes=limit_bytes
        )

    async def in_thread(self, work: Callable[[], Any]) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "filter")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def spawn(self, work: Awaitable[object], what: str) -> None:
        task = asyncio.get_running_loop().create_task(_logged(work, what))
        self._tasks.add(task)  # the loop alone would let it be collected
        task.add_done_callback(self._tasks.discard)

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    def draw(self) -> float:
        return random.random()


async def _logged(work: Awaitable[object], what: str) -> None:
    try:
        await work
    except Exception:
        log.exception("%s has failed", what)
