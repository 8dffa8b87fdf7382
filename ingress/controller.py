"""Store -> routing tables -> workers: the reconcile step of the L7 half, and what it tells the operator."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from ingress import wire
from ingress.routes.compile import RoutingTable
from ingress.routes.config import key_of
from ingress.routes.model import EVERY_HOST, Backend, Certificate, Changes
from lb.cluster.objects import Key
from lb.cluster.problems import Problem
from lb.reconcile import ApplyFailed

log = logging.getLogger(__name__)

LOOK_AT = 10
"""Keys at a time: a millisecond's work."""
LOOK_PAUSE_SECONDS = 0.02


class Controller:
    """Applies changes of the store to the tables and hands on what is different."""

    def __init__(
        self,
        table: RoutingTable,
        publish: Callable[[Changes], None],
        *,
        default_certificate: Certificate | None = None,
    ) -> None:
        self.table = table
        self.publish = publish
        self.default_certificate = default_certificate
        """What TLS clients see where no Ingress gives a certificate; None: nothing listens for TLS."""
        self.applied = False
        self.applied_at_seconds = 0.0
        """When the tables last changed (Unix time)."""
        self.compiled_well = True
        """Whether the last look at the objects led to tables."""
        self.failures = 0
        """How often it did not."""
        self.before_first: Callable[[], Awaitable[None]] | None = None
        """Waited for before the first tables are handed on: what they need from outside."""
        self._told_of_tls = False
        self._refused_settings: set[str] = set()

    async def apply(self, keys: Sequence[Key] | None) -> None:
        """Bring everything in line with the store for these keys (None: all). Called by lb.reconcile."""
        if self.applied or self.before_first is None:
            self.refresh(keys)
            return
        changes = self._compile(keys)
        await self.before_first()
        now = self._compile(None)
        changes.hosts.update(now.hosts)
        changes.backends.update(now.backends)
        changes.certificates.update(now.certificates)
        changes.config = now.config or changes.config
        self._hand_on(changes)

    def refresh(self, keys: Sequence[Key] | None = None) -> None:
        """The same at once. Raises ApplyFailed."""
        self._hand_on(self._compile(keys))

    async def look_again(self) -> None:
        """Look at everything once more, a little at a time: a change that comes meanwhile need not wait for it."""
        keys = self.table.keys()
        for at in range(0, len(keys), LOOK_AT):
            with contextlib.suppress(ApplyFailed):  # logged; what it would have changed is told with the next
                self.refresh(keys[at : at + LOOK_AT])
            await asyncio.sleep(LOOK_PAUSE_SECONDS)

    def _hand_on(self, changes: Changes) -> None:
        for table in ("hosts", "backends", "certificates"):
            for key in getattr(changes, table):
                self.table.problems.replace(("refused", table, key), ())
        if changes.config is not None:
            for name in self._refused_settings:
                self.table.problems.replace(("refused", "settings", name), ())
            self._refused_settings.clear()
        if self.applied and not changes:
            return
        if changes.certificates.get(EVERY_HOST, ...) is None:
            changes.certificates[EVERY_HOST] = self.default_certificate
        first, self.applied, self.applied_at_seconds = not self.applied, True, time.time()
        self.publish(changes)
        self._tell(changes, first)

    def _compile(self, keys: Sequence[Key] | None) -> Changes:
        try:
            changes = self.table.update(keys)
        except Exception as error:
            # A bug here must not end what the workers serve: they keep the last good tables until the next try.
            self.compiled_well = False
            self.failures += 1
            log.exception("the routes could not be compiled")
            raise ApplyFailed(f"the routes could not be compiled: {error!r}") from error
        self.compiled_well = True
        for problem in changes.new_problems:
            log.warning("%s", problem)
        return changes

    def snapshot(self, generation: int) -> wire.Update:
        """The whole tables, for a worker that has nothing yet."""
        certificates = dict(self.table.certificates)
        if self.default_certificate is not None:
            certificates.setdefault(EVERY_HOST, self.default_certificate)
        return wire.snapshot_of(generation, self.table.hosts, self.table.backends, certificates.values())

    def take_refused(self, refused: Sequence[wire.Refused]) -> None:
        """The engine does not take what looked good: an operator must correct it. Every worker says the same."""
        for each in refused:
            origin = ("refused", each.table, each.key)
            if each.table == "settings":
                self._refused_settings.add(each.key)
            for new in self.table.problems.replace(origin, [self._problem(each)]):
                log.warning("%s", new)

    def _problem(self, refused: wire.Refused) -> Problem:
        certificate = self.table.certificates.get(refused.key) if refused.table == "certificates" else None
        if certificate is not None:
            reason = f"TLS does not take it for {refused.key or 'every host'}: {refused.reason}"
            return Problem(f"Secret {certificate.secret}", "data", reason, "put a certificate and its key into it")
        named = self.table.defaults.config_map
        if refused.table == "settings" and named:
            key = key_of(refused.key)
            return Problem(f"ConfigMap {'/'.join(named)}", f"data[{key}]", refused.reason, "the default counts")
        return Problem(f"{refused.table} {refused.key}", "", refused.reason, "correct the object it comes from")

    def _tell(self, changes: Changes, first: bool) -> None:
        table = self.table
        if first or changes.hosts:
            log.info(
                "serving %d hosts, %d routes, %d backends, %d certificates; %d problems",
                len(table.hosts), table.route_count, len(table.backends), len(table.certificates), len(table.problems),
            )  # fmt: skip
        for backend in changes.backends.values():
            if backend is not None:
                _tell_of_backend(backend, first)
        if table.wants_tls and not self._told_of_tls and self.default_certificate is None:
            self._told_of_tls = True
            log.warning("Ingress %s asks for TLS, but nothing listens for it (add --https :8443)", table.wants_tls)


def _tell_of_backend(backend: Backend, first: bool) -> None:
    """A missing Service is a Problem already; an empty one is a state that passes, or an EndpointSlice left out."""
    if not backend.endpoints and not backend.wrong:
        log.warning(
            "Service %s/%s port %s: %s; requests for it get 503",
            backend.namespace, backend.service, backend.port, backend.state,
        )  # fmt: skip
    elif not first:
        log.info("Service %s/%s port %s: %s", backend.namespace, backend.service, backend.port, backend.state)
