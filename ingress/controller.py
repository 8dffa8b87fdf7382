"""Store -> routing tables -> workers: the reconcile step of the L7 half, and what it tells the operator."""

import logging
import time
from collections.abc import Callable, Sequence

from ingress import wire
from ingress.routes.compile import RoutingTable
from ingress.routes.model import EVERY_HOST, Backend, Certificate, Changes
from lb.cluster.objects import Key
from lb.cluster.problems import Problem

log = logging.getLogger(__name__)


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
        self._told_of_tls = False

    async def apply(self, keys: Sequence[Key] | None) -> None:
        """Bring everything in line with the store for these keys (None: all). Called by lb.reconcile."""
        changes = self.table.update(keys)
        for problem in changes.new_problems:
            log.warning("%s", problem)
        if self.applied and not changes:
            return
        if changes.certificates.get(EVERY_HOST, ...) is None:
            changes.certificates[EVERY_HOST] = self.default_certificate
        first, self.applied, self.applied_at_seconds = not self.applied, True, time.time()
        self.publish(changes)
        self._tell(changes, first)

    def snapshot(self, generation: int) -> wire.Update:
        """The whole tables, for a worker that has nothing yet."""
        certificates = dict(self.table.certificates)
        if self.default_certificate is not None:
            certificates.setdefault(EVERY_HOST, self.default_certificate)
        return wire.snapshot_of(generation, self.table.hosts, self.table.backends, certificates.values())

    def refused_certificates(self, refused: dict[str, str]) -> None:
        """TLS did not take what looked like a good certificate: an operator must correct the Secret."""
        for host, reason in refused.items():
            found = self.table.certificates.get(host)
            if found is not None:
                problem = Problem(
                    f"Secret {found.secret}", "data", f"TLS refuses it for {host or 'every host'}: {reason}"
                )
                for new in self.table.problems.replace(("tls refused", host, found.secret), [problem]):
                    log.warning("%s", new)

    def _tell(self, changes: Changes, first: bool) -> None:
        table = self.table
        if first or changes.hosts:
            routes = sum(len(each.routes) for each in table.hosts.values())
            log.info(
                "serving %d hosts, %d routes, %d backends, %d certificates; %d problems",
                len(table.hosts), routes, len(table.backends), len(table.certificates), len(table.problems),
            )  # fmt: skip
        for backend in changes.backends.values():
            if backend is not None:
                _tell_of_backend(backend, first)
        if not self._told_of_tls and self.default_certificate is None:
            wants = next((claims for claims in table.claims.values() if claims.wants_tls), None)
            if wants is not None:
                self._told_of_tls = True
                log.warning("Ingress %s asks for TLS, but nothing listens for it (add --https :8443)", wants.title)


def _tell_of_backend(backend: Backend, first: bool) -> None:
    """A missing Service is a Problem already; an empty one is a state that passes, or an EndpointSlice left out."""
    if not backend.endpoints and not backend.wrong:
        log.warning(
            "Service %s/%s port %s: %s; requests for it get 503",
            backend.namespace, backend.service, backend.port, backend.state,
        )  # fmt: skip
    elif not first:
        log.info("Service %s/%s port %s: %s", backend.namespace, backend.service, backend.port, backend.state)
