"""Problems as Kubernetes Events on the objects they are about, so that `kubectl describe` tells them.

Every replica sends the same Event under the same name, so the first one makes it and the others find it there. Events
go after an hour (kube-apiserver --event-ttl); a Problem that stays is told again. Source: Kubernetes API core/v1 Event.
"""

import asyncio
import hashlib
import logging
import time
from datetime import UTC, datetime
from typing import Any

from lb.cluster.connection import ApiFailed, Connection
from lb.cluster.objects import KINDS, Object
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 3000.0
BURST = 50
PER_SECOND = 1.0
"""So many Events at once, and then this many a second: thousands of broken objects must not load the API server."""
MESSAGE_OCTETS = 1024
REASON = "Problem"


class Events:
    """Tells the Problems of one component. What cannot be told now is tried again; nothing waits for it."""

    def __init__(self, connection: Connection, store: ObjectStore, component: str) -> None:
        self.connection = connection
        self.store = store
        self.component = component
        self._told: dict[Problem, float] = {}
        self._left = float(BURST)
        self._refused = False

    async def run(self, problems: Problems) -> None:
        """Until cancelled. `problems` is looked at again and again, if anything is different or not told yet."""
        told, due = -1, 0.0
        while True:
            if problems.changes != told or time.monotonic() >= due:
                changes, now = problems.changes, time.monotonic()
                if await self.tell(list(problems)):
                    told, due = changes, now + AGAIN_SECONDS / 10
            await asyncio.sleep(LOOK_SECONDS)
            self._left = min(BURST, self._left + LOOK_SECONDS * PER_SECOND)

    async def tell(self, problems: list[Problem]) -> bool:
        """Tell those that are new, or were told long ago, as far as the rate allows; return whether all are told."""
        now = time.monotonic()
        current = set(problems)
        self._told = {problem: at for problem, at in self._told.items() if problem in current}
        for problem in problems:
            if self._left < 1:
                return False
            if now - self._told.get(problem, -AGAIN_SECONDS) < AGAIN_SECONDS:
                continue
            found = self._object(problem)
            if found is None:
                continue
            self._left -= 1
            if not await self._send(problem, found):
                return False
            self._told[problem] = now
        return True

    def _object(self, problem: Problem) -> Object | None:
        """The object it is about, if there is one in the store."""
        kind, _, title = problem.object.partition(" ")
        namespace, _, name = title.rpartition("/")
        cls = KINDS.get(kind)
        return self.store.get(cls, namespace, name) if cls is not None and name else None

    async def _send(self, problem: Problem, about: Object) -> bool:
        """Whether it is there now."""
        event = event_of(problem, about, self.component, datetime.now(UTC))
        namespace = event["metadata"]["namespace"]
        try:
            await self.connection.post(f"/api/v1/namespaces/{namespace}/events", event)
        except ApiFailed as error:
            if error.status in (409, 404):  # told by another replica or before a restart; or its namespace is going
                return True
            if not self._refused:
                log.warning("Events cannot be written (%s); Problems are in the log and at /metrics", error)
            self._refused = True
            return False
        self._refused = False
        return True


def event_of(problem: Problem, about: Object, component: str, now: datetime) -> dict[str, Any]:
    """A core/v1 Event; its name is the same for the same Problem of the same object."""
    metadata = about.metadata
    namespace = metadata.namespace or "default"
    text = f"{problem.field}: {problem.reason}" if problem.field else problem.reason
    if problem.advice:
        text += f" ({problem.advice})"
    digest = hashlib.sha256(f"{component}\n{metadata.uid}\n{text}".encode(errors="replace")).hexdigest()[:16]
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "metadata": {"name": f"{metadata.name[:230]}.{digest}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": about.API_VERSION,
            "kind": about.KIND,
            "namespace": metadata.namespace,
            "name": metadata.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "type": "Warning",
        "reason": REASON,
        "message": text.encode(errors="replace")[:MESSAGE_OCTETS].decode(errors="ignore"),
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "source": {"component": component},
        "reportingComponent": f"causeway.dev/{component}",
    }
