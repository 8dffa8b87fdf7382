"""Active health checks for a proxy that stands alone: the supervisor asks every endpoint, and tells the workers.

It is the supervisor's work, not the workers': an endpoint is asked once and not once per worker, all workers agree, and
nothing of it runs where requests do. Kubernetes does the same by readiness probes; there is no need of this there.
"""

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec

from ingress import wire
from ingress.listeners import BadAddress
from ingress.routes.model import Backend, Changes, Endpoint

log = logging.getLogger(__name__)

AT_ONCE_MAX = 64
"""Checks under way at the same time."""
HEAD_BYTES_MAX = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """GET `path`: well if the answer's status is in [`least`, `most`] within the time."""

    path: str
    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0
    fails: int = 2
    """In a row: then the endpoint gets no requests."""
    passes: int = 1
    """In a row: then it does again."""
    least: int = 200
    most: int = 399
    host: str = ""
    """The Host field; "" is the endpoint's address."""


def read_health_check(text: str) -> HealthCheck:
    """Read "/healthz" or "/healthz,interval=5,timeout=1,fails=3,passes=2,status=200-299,host=NAME".

    Raises BadAddress.
    """
    path, *parts = text.split(",")
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise BadAddress(f'"{text}": begin with the path to ask for, as in /healthz')
    check = HealthCheck(path=path)
    for part in parts:
        name, equals, value = part.strip().partition("=")
        read = _PARTS.get(name)
        if read is None or not equals:
            raise BadAddress(f'"{text}": "{part}" is none of {", ".join(f"{known}=" for known in _PARTS)}')
        try:
            check = read(check, value)
        except ValueError:
            raise BadAddress(f'"{text}": "{value}" will not do for {name}=') from None
    return check


def _seconds(value: str) -> float:
    found = float(value)
    if not 0.05 <= found <= 86400:
        raise ValueError(value)
    return found


def _count(value: str) -> int:
    found = int(value)
    if not 1 <= found <= 1000:
        raise ValueError(value)
    return found


def _statuses(check: HealthCheck, value: str) -> HealthCheck:
    least, _, most = value.partition("-")
    found = replace(check, least=int(least), most=int(most or least))
    if not 100 <= found.least <= found.most <= 599:
        raise ValueError(value)
    return found


def _host(check: HealthCheck, value: str) -> HealthCheck:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(value)
    return replace(check, host=value)


_PARTS: dict[str, Callable[[HealthCheck, str], HealthCheck]] = {
    "interval": lambda check, value: replace(check, interval_seconds=_seconds(value)),
    "timeout": lambda check, value: replace(check, timeout_seconds=_seconds(value)),
    "fails": lambda check, value: replace(check, fails=_count(value)),
    "passes": lambda check, value: replace(check, passes=_count(value)),
    "status": _statuses,
    "host": _host,
}


@dataclass(slots=True)
class Health:
    """What is known of one endpoint. New ones are well until they have failed."""

    well: bool = True
    streak: int = 0
    """Verdicts in a row that say otherwise."""

    def note(self, passed: bool, check: HealthCheck) -> bool:
        """Take a verdict; return whether the endpoint's state has changed."""
        self.streak = 0 if passed == self.well else self.streak + 1
        if self.streak < (check.fails if self.well else check.passes):
            return False
        self.well, self.streak = not self.well, 0
        return True


class HealthChecks:
    """Follows the backends, asks their endpoints, and publishes those that may be used."""

    def __init__(self, check: HealthCheck, publish: Callable[[Changes], None]) -> None:
        self.check = check
        self.publish = publish
        self.backends: dict[str, Backend] = {}
        """As the tables have them."""
        self.endpoints: dict[Endpoint, Health] = {}
        self._members: Counter[Endpoint] = Counter()
        self._tasks: dict[Endpoint, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE_MAX)

    def usable(self, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, ...]:
        """Those that are well; all of them if none is: then the check is more likely wrong than every endpoint."""
        well = tuple(each for each in endpoints if each not in self.endpoints or self.endpoints[each].well)
        return well or tuple(endpoints)

    def take(self, changes: Changes) -> Changes:
        """Follow changes of the tables; return them with only the usable endpoints."""
        for key, backend in changes.backends.items():
            before = self.backends.pop(key, None)
            if backend is not None:
                self.backends[key] = backend
                self._members.update(backend.endpoints)
            if before is not None:
                self._members.subtract(before.endpoints)
        for endpoint in [each for each, count in self._members.items() if count <= 0]:
            del self._members[endpoint]
        for endpoint in self.endpoints.keys() - self._members.keys():
            del self.endpoints[endpoint]
            self._tasks.pop(endpoint).cancel()
        for endpoint in self._members.keys() - self.endpoints.keys():
            self.endpoints[endpoint] = Health()
            self._tasks[endpoint] = asyncio.create_task(self._watch(endpoint, self.endpoints[endpoint]))
        filtered = {key: backend and self._filtered(backend) for key, backend in changes.backends.items()}
        return msgspec.structs.replace(changes, backends=filtered)

    def snapshot(self, update: wire.Update) -> wire.Update:
        """The whole tables with only the usable endpoints."""
        backends = {key: found and self.usable(found) for key, found in update.backends.items()}
        return msgspec.structs.replace(update, backends=backends)

    async def close(self) -> None:
        """Ask nobody any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _filtered(self, backend: Backend) -> Backend:
        return msgspec.structs.replace(backend, endpoints=self.usable(backend.endpoints))

    async def _watch(self, endpoint: Endpoint, health: Health) -> None:
        while True:
            async with self._at_once:
                wrong = await ask(endpoint, self.check)
            if health.note(not wrong, self.check):
                self._tell(endpoint, wrong)
                used = {key: each for key, each in self.backends.items() if endpoint in each.endpoints}
                self.publish(Changes(backends={key: self._filtered(each) for key, each in used.items()}))
            # Not all of them at the same moment, and never in step with something else that is periodic.
            await asyncio.sleep(self.check.interval_seconds * random.uniform(0.9, 1.1))

    def _tell(self, endpoint: Endpoint, wrong: str) -> None:
        name = "{}:{}".format(*endpoint)
        if wrong:
            log.warning("endpoint %s fails its health check: %s", name, wrong)
        else:
            log.info("endpoint %s passes its health check again", name)


async def ask(endpoint: Endpoint, check: HealthCheck) -> str:
    """Check once; return what is wrong, "" if nothing is."""
    host, port = endpoint
    name = check.host or (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    fields = f"Host: {name}\r\nUser-Agent: causeway-health-check\r\nConnection: close\r\n"
    writer = None
    try:
        async with asyncio.timeout(check.timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=HEAD_BYTES_MAX)
            writer.write(f"GET {check.path} HTTP/1.1\r\n{fields}\r\n".encode())
            line = await reader.readuntil(b"\r\n")
    except TimeoutError:
        return f"no answer within {check.timeout_seconds:g} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return "no HTTP answer"
    finally:
        if writer is not None:
            writer.close()
    version, _, rest = line.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        return "no HTTP answer"
    status = int(rest[:3])
    return "" if check.least <= status <= check.most else f"status {status}"
