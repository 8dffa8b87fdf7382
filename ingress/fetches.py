"""Requests of a worker's own to any URL: for external authentication, mirrors and filters of operators.

They go by the engine's pools, one backend for each origin (scheme, host, port) in use. Names are looked up beside the
loop, through the C library as everywhere here, which tells no TTL: an answer is used for NAME_SECONDS, then it is used
on while a new one is being looked up. Certificates of https origins are not verified, as ingress-nginx does it.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

from ingress.filters.api import Answer, FetchFailed, Fields
from ingress.proxy import BackendSpec, Engine
from ingress.proxy.settings import Transport, UpstreamTls

NAME_SECONDS = 30.0
FAILURE_SECONDS = 1.0
"""A name that could not be looked up is not asked for again at once, however many requests need it."""
UNUSED_SECONDS = 300.0
ORIGINS_MAX = 1000
"""A URL may have variables, and thus whatever clients say: who is not in use makes way."""
PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    scheme: str
    host: str
    """A name in lower case, or an address without brackets."""
    port: int

    @property
    def key(self) -> str:
        """Name of its backend in the engine; no Service's is like it."""
        return f"fetch {self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """As the Host field has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass
class _Known:
    """An origin in use."""

    numeric: bool
    under_way: int = 0
    used: float = 0.0
    until: float = 0.0
    """So long its addresses, or its failure, count."""
    addresses: tuple[str, ...] = ()
    failure: str = ""
    looking: asyncio.Task[None] | None = None


def read_url(url: str) -> tuple[Origin, str]:
    """The origin, and the target to ask for. Raises ValueError for what is neither http nor https."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in PORTS or not host or parts.username is not None:
        raise ValueError("it is no http://HOST or https://HOST")
    target = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    return Origin(parts.scheme, host, parts.port or PORTS[parts.scheme]), target


class Fetches:
    """Asks by one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.origins: dict[Origin, _Known] = {}
        self._swept = time.monotonic()

    async def fetch(
        self, url: str, *, method: str, fields: Fields, body: bytes, timeout_seconds: float, limit_bytes: int
    ) -> Answer:
        """See Tools.fetch. `limit_bytes` are those of the answer's body; a longer one is a failure."""
        try:
            origin, target = read_url(url)
            if not any(name.lower() == "host" for name, _ in fields):
                fields = (("Host", origin.authority), *fields)
            async with asyncio.timeout(timeout_seconds):
                with self._use(origin) as known:
                    await self._addresses(origin, known)
                    return Answer(
                        *await self.engine.fetch(
                            origin.key,
                            method,
                            target,
                            fields=fields,
                            body=body,
                            timeout_seconds=timeout_seconds,
                            limit_bytes=limit_bytes,
                        )
                    )
        except TimeoutError:
            raise FetchFailed(f"{url}: no answer within {timeout_seconds:g} s") from None
        except (OSError, ValueError) as error:
            raise FetchFailed(f"{url}: {error}") from None

    @contextmanager
    def _use(self, origin: Origin) -> Iterator[_Known]:
        now = time.monotonic()
        if now - self._swept > UNUSED_SECONDS or (len(self.origins) >= ORIGINS_MAX and origin not in self.origins):
            self._forget(now)
        known = self.origins.get(origin)
        if known is None:
            known = self.origins[origin] = _Known(_is_address(origin.host))
        known.under_way += 1
        try:
            yield known
        finally:
            known.under_way -= 1
            known.used = time.monotonic()

    def _forget(self, now: float) -> None:
        """What has not been used for long; of a full table, also the tenth that was used longest ago."""
        self._swept = now
        idle = sorted((known.used, origin) for origin, known in self.origins.items() if not known.under_way)
        surplus = ORIGINS_MAX // 10 if len(self.origins) >= ORIGINS_MAX else 0
        for i, (used, origin) in enumerate(idle):
            if i < surplus or now - used > UNUSED_SECONDS:
                known = self.origins.pop(origin)
                if known.looking is not None:
                    known.looking.cancel()
                self.engine.remove_backend(origin.key)

    async def _addresses(self, origin: Origin, known: _Known) -> None:
        """Have the engine know where the origin is."""
        if known.until <= time.monotonic():
            if known.numeric:
                self._answer(origin, known, (origin.host,))
            elif known.looking is None:
                known.looking = asyncio.create_task(self._look_up(origin, known))
        if known.looking is not None and not known.addresses:
            await asyncio.shield(known.looking)
        if not known.addresses:
            raise OSError(known.failure)

    async def _look_up(self, origin: Origin, known: _Known) -> None:
        try:
            found = await _resolve(origin.host, origin.port)
        except (OSError, UnicodeError) as error:
            known.failure = f"{origin.host} cannot be looked up ({getattr(error, 'strerror', None) or error})"
            known.until = time.monotonic() + FAILURE_SECONDS
        else:
            self._answer(origin, known, found)
        finally:
            known.looking = None

    def _answer(self, origin: Origin, known: _Known, found: tuple[str, ...]) -> None:
        known.until = float("inf") if known.numeric else time.monotonic() + NAME_SECONDS
        if found != known.addresses:
            tls = UpstreamTls(server_name="" if known.numeric else origin.host) if origin.scheme == "https" else None
            self.engine.set_backend(
                origin.key, [(ip, origin.port) for ip in found], BackendSpec(transport=Transport(tls=tls))
            )
            known.addresses = found


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _resolve(name: str, port: int) -> tuple[str, ...]:
    """Of the families this machine has; of all, if it has none but loopback."""
    ask = asyncio.get_running_loop().getaddrinfo
    try:
        found = await ask(name, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        found = await ask(name, port, type=socket.SOCK_STREAM)
    return tuple(sorted({str(where[0]) for *_, where in found}))
