"""Looks up the names of ExternalName Services, beside the loop, again and again.

The resolver of the C library is asked, so that /etc/hosts and search domains count as for every other program; it tells
no TTL, so every name is asked for again after the same time. A name that cannot be looked up for a while keeps the
addresses it had.
"""

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

from ingress.routes.model import NameAnswer

log = logging.getLogger(__name__)

AGAIN_SECONDS = 30.0
ANSWER_SECONDS = 10.0
FIRST_SECONDS = 5.0
"""So long the start waits for names, so that the first requests are not refused for want of an answer."""
THREADS = 8


class Names:
    """Keeps `answers` up to date for the names that `wanted` gives."""

    def __init__(
        self,
        wanted: Callable[[], Collection[str]],
        changed: Callable[[str], None],
        *,
        local: bool,
        again_seconds: float = AGAIN_SECONDS,
    ) -> None:
        self.wanted = wanted
        self.changed = changed
        self.local = local
        """Whether a name may mean this machine: true for those who write their own folder."""
        self.again_seconds = again_seconds
        self.answers: dict[str, NameAnswer] = {}
        self._asked: dict[str, float] = {}
        self._begun: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="names")

    def wake(self) -> None:
        """There may be new names."""
        self._woken.set()

    def forget_ages(self) -> None:
        """Ask for everything again now."""
        self._asked.clear()
        self._woken.set()

    async def first(self) -> None:
        """Ask for what is wanted now, and wait a little."""
        if self.wanted():
            self._begun = asyncio.create_task(self._ask_due())
            await asyncio.wait([self._begun], timeout=FIRST_SECONDS)

    async def run(self) -> None:
        """Until cancelled."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                self._woken.clear()
                await self._ask_due()
                due = min((asked + self.again_seconds for asked in self._asked.values()), default=None)
                try:
                    async with asyncio.timeout_at(due and max(due, clock() + 0.01)):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _ask_due(self) -> None:
        now, wanted = asyncio.get_running_loop().time(), set(self.wanted())
        for name in self._asked.keys() - wanted:
            del self._asked[name]
            self.answers.pop(name, None)
        due = [name for name in wanted if now - self._asked.get(name, -self.again_seconds) >= self.again_seconds]
        self._asked.update(dict.fromkeys(due, now))
        await asyncio.gather(*map(self._ask, due))

    async def _ask(self, name: str) -> None:
        before = self.answers.get(name)
        answer = await self._look_up(name)
        if answer.error and before is not None and before.addresses:
            log.warning("%s: %s; the addresses of before are used on", name, answer.error)
            return
        if answer != before:
            self.answers[name] = answer
            self.changed(name)

    async def _look_up(self, name: str) -> NameAnswer:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await loop.run_in_executor(self._threads, _resolve, name)
        except TimeoutError:
            return NameAnswer(error=f"no answer from DNS within {ANSWER_SECONDS:g} s")
        except OSError as error:
            return NameAnswer(error=f"it cannot be looked up ({error.strerror})")
        usable = tuple(sorted(ip for ip in found if self.local or not _near(ip)))
        if not usable:
            return NameAnswer(error=f"it means {', '.join(sorted(found))}, which is this machine or link; refused")
        return NameAnswer(usable)


def _resolve(name: str) -> set[str]:
    """Of the families this machine has; of all, if it has none but loopback."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return {str(where[0]) for *_, where in found}


def _near(text: str) -> bool:
    """Addresses by which a name would reach into the proxy's own machine: it may be anybody who writes the Service."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return any(
        each.is_loopback or each.is_unspecified or each.is_link_local or each.is_multicast
        for each in (ip, mapped or ip)
    )
