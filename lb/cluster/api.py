"""Source: the API server, by list and watch.

Each kind is followed on its own: list everything once, then watch from the version the list had. A watch that ends is
taken up again where it ended; a version the server no longer knows (410) means to list again. Whatever fails, what is
in the store stays: old knowledge is better than none.

Source: Kubernetes API concepts, "Efficient detection of changes".
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from lb.cluster import secrets
from lb.cluster.connection import JSON, NAMES, NAMES_OF_ALL, ApiFailed, Connection, path_of
from lb.cluster.objects import ConfigMap, Key, Node, Object, Pod, Secret
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.cluster.wire import Bad, BadWire, Bookmark, Changed, Deleted, Lines, Refused, read_event, read_page

log = logging.getLogger(__name__)

GONE = 410
CONFIG_MAPS = "metadata.name!=kube-root-ca.crt"
"""Not the one that every namespace has."""
SETTLE_SECONDS = 10.0
"""What is wanted is waited for until nothing has come for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiTiming:
    """How patient we are with an API server."""

    idle_seconds: float = 150.0
    """A watch without a byte for so long is opened again; the server sends a bookmark about every minute."""

    watch_seconds: float = 300.0
    """The server is asked to end a watch after this to twice this; it spreads clients over its replicas."""

    retry_seconds: float = 0.5
    """Before the first try after a failure; doubled with each more, drawn at random up to that."""

    retry_seconds_max: float = 30.0

    page_objects: int = 500
    """Objects per part of a list."""


class _Scope(NamedTuple):
    """A kind, in one namespace or ("") in all."""

    cls: type[Object]
    namespace: str

    @property
    def kind(self) -> str:
        return self.cls.KIND

    @property
    def path(self) -> str:
        return path_of(self.cls, self.namespace)

    @property
    def names_only(self) -> bool:
        """What is in such objects is only read if somebody wants it."""
        return self.cls is Secret


class _Keeper(Protocol):
    """What is told of the objects of a scope: the store, or somebody in its place."""

    def keys(self, kind: str) -> list[Key]: ...
    def find(self, key: Key) -> Object | None: ...
    def put(self, found: Object) -> object: ...
    def remove(self, key: Key) -> object: ...
    def replace_kind(self, cls: type[Object], now: Iterable[Object], *, namespace: str = "") -> None: ...


class _Gone(Exception):
    """The version we have is too old to go on from."""


class ApiServer:
    """Keeps a store equal to some kinds of objects of an API server.

    `synced` is set once every kind has been listed, or is refused and dispensable; for Secrets see `read_wanted`.
    `problems` holds objects that cannot be decoded, kinds that must not be read (RBAC), and an API server that does not
    answer.
    """

    def __init__(
        self,
        connection: Connection,
        store: ObjectStore,
        kinds: Sequence[type[Object]],
        *,
        pods_of_node: str | None = None,
        only_node: str = "",
        namespaces: Sequence[str] = (),
        dispensable: Sequence[type[Object]] = (),
        timing: ApiTiming | None = None,
    ) -> None:
        """pods_of_node: of Pods, those on this node. only_node: of Nodes, this one alone.

        dispensable: kinds that nobody waits for if we must not read them.
        """
        self.synced = asyncio.Event()
        self.problems = Problems()
        self._connection = connection
        self._store = store
        self._scopes = tuple(
            _Scope(cls, each) for cls in kinds for each in (namespaces if namespaces and cls.NAMESPACED else ("",))
        )
        self._pods_of_node = pods_of_node
        self._only_node = only_node
        self._dispensable = frozenset(dispensable)
        self._timing = timing or ApiTiming()
        self._unlisted = {scope for scope in self._scopes if not scope.names_only}
        self._unanswered: set[_Scope] = set()
        self._secrets = secrets.Secrets(
            connection,
            store,
            self.problems,
            namespaces=[scope.namespace for scope in self._scopes if scope.names_only],
            page_objects=self._timing.page_objects,
            pause=self._pause,
        )

    async def run(self) -> None:
        """Follow all kinds until cancelled. Never raises because of the API server: it is tried again for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for scope in self._scopes:
                    group.create_task(self._follow(scope), name=f"follow {scope.kind}")
                group.create_task(self._secrets.run(), name="read Secrets")
        finally:
            await self._connection.close()

    async def read_wanted(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait until the Secrets that somebody wants have been read, or cannot be, or nothing has come for so long."""
        await self._secrets.settle(seconds)

    def _keeper(self, scope: _Scope) -> _Keeper:
        return self._secrets if scope.names_only else self._store

    async def _follow(self, scope: _Scope) -> None:
        failures = 0
        version: str | None = None  # None: list first
        while True:
            began = time.monotonic()
            try:
                if version is None:
                    version = await self._list(scope)
                    failures = 0
                version, moved = await self._watch(scope, version)
                # A server that ends each watch at once must not be asked in a tight loop.
                failures = 0 if moved or time.monotonic() - began > self._timing.retry_seconds else failures + 1
            except _Gone:
                log.info("%s: the version we have is too old; listing again", scope.kind)
                version = None
                failures += 1  # forgotten once the list is there
            except (ApiFailed, BadWire) as error:
                failures += 1
                self._failed(scope, error, failures)
            if failures:
                await asyncio.sleep(self._pause(failures))

    def _pause(self, failures: int) -> float:
        # Drawn from the whole range: clients cut off together must not come back together.
        longest = min(self._timing.retry_seconds_max, self._timing.retry_seconds * 2 ** min(failures - 1, 16))
        return random.uniform(longest / 4, longest)

    # -- list

    async def _list(self, scope: _Scope) -> str:
        """Make the store equal to what the server has; return the version of it."""
        query = {"limit": str(self._timing.page_objects), **self._selector(scope)}
        found: list[Object | Bad] = []
        while True:
            try:
                accept = NAMES_OF_ALL if scope.names_only else JSON
                body = await self._connection.get(scope.path, query, accept=accept)
                page = read_page(scope.cls, body, names_only=scope.names_only)
            except ApiFailed as error:
                if error.status == GONE:  # the token for the next part is older than what the server remembers
                    raise _Gone from None
                raise
            found += page.objects
            if not page.more:
                break
            query["continue"] = page.more
        self._replace(scope, found)
        self._answered(scope)
        log.debug("%s: %d objects listed at version %s", scope.kind, len(found), page.version)
        self._listed(scope)
        return page.version

    def _listed(self, scope: _Scope) -> None:
        self._unlisted.discard(scope)
        if not self._unlisted and not self.synced.is_set():
            log.info("all objects have been listed")
            self.synced.set()

    def _replace(self, scope: _Scope, found: Sequence[Object | Bad]) -> None:
        there = {each.key for each in found}
        keeper = self._keeper(scope)
        for key in keeper.keys(scope.kind):
            if key not in there and scope.namespace in ("", key.namespace):
                self.problems.replace(key, ())
        now: list[Object] = []
        for each in found:
            good = self._judged(each)
            if good is not None:
                now.append(good)
        keeper.replace_kind(scope.cls, now, namespace=scope.namespace)

    def _judged(self, found: Object | Bad) -> Object | None:
        """The object, or for a bad one its last good version, if there was one."""
        if not isinstance(found, Bad):
            self.problems.replace(found.key, ())
            return found
        last = self._store.find(found.key)
        note = "; the last good version stays in use" if last is not None else ""
        why = found.why
        self._complain(found.key, Problem(str(found.key), why.field, why.reason + note, why.advice))
        return last

    # -- watch

    async def _watch(self, scope: _Scope, version: str) -> tuple[str, bool]:
        """Follow changes until the server ends the watch; return the version reached, and whether anything came."""
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(round(random.uniform(1, 2) * self._timing.watch_seconds)),
            **self._selector(scope),
        }
        lines = Lines()
        opened = moved = False
        try:
            accept = NAMES if scope.names_only else JSON
            async with self._connection.stream(scope.path, query, self._timing.idle_seconds, accept=accept) as pieces:
                self._answered(scope)
                opened = True
                async for piece in pieces:
                    for line in lines.feed(piece):
                        version = self._apply(scope, line) or version
                        moved = True
        except ApiFailed as error:
            if error.status == GONE:
                raise _Gone from None
            if error.status or not opened:
                raise
            # Cut, or silent for too long: nothing is wrong before the next try fails.
            log.debug("%s: the watch was cut: %s", scope.kind, error)
        return version, moved

    def _apply(self, scope: _Scope, line: bytes) -> str:
        """Bring one event into the store; return its version. Raises _Gone, ApiFailed, BadWire."""
        event = read_event(scope.cls, line, names_only=scope.names_only)
        if isinstance(event, Changed):
            good = self._judged(event.found)
            if good is not None:
                self._keeper(scope).put(good)
        elif isinstance(event, Deleted):
            self.problems.replace(event.key, ())
            self._keeper(scope).remove(event.key)
        elif isinstance(event, Refused):
            if event.code == GONE:
                raise _Gone
            raise ApiFailed(event.code, event.message)
        else:
            assert isinstance(event, Bookmark)
        return event.version

    # -- both

    def _selector(self, scope: _Scope) -> dict[str, str]:
        if scope.cls is Pod and self._pods_of_node is not None:
            return {"fieldSelector": f"spec.nodeName={self._pods_of_node}"}
        if scope.cls is Node and self._only_node:
            return {"fieldSelector": f"metadata.name={self._only_node}"}
        if scope.cls is Secret:
            return {"fieldSelector": secrets.SELECTOR}
        if scope.cls is ConfigMap:
            return {"fieldSelector": CONFIG_MAPS}
        return {}

    def _answered(self, scope: _Scope) -> None:
        self.problems.replace(("kind", *scope), ())
        if self._unanswered:
            self._unanswered.discard(scope)
            if not self._unanswered:
                self.problems.replace("server", ())
                log.info("the API server answers again")

    def _failed(self, scope: _Scope, error: ApiFailed | BadWire, failures: int) -> None:
        plural = scope.path.rpartition("/")[2]
        log.debug("%s: try %d failed: %s", plural, failures, error)
        if isinstance(error, ApiFailed) and not error.status:
            # One Problem for the server, not one for each kind.
            if not self._unanswered:
                advice = "it is tried again, and what was known stays in use; see that it runs and can be reached"
                self._complain("server", Problem("API server", "", f"does not answer: {error}", advice))
            self._unanswered.add(scope)
            return
        if scope.names_only:
            self._secrets.refused(scope.namespace)
        advice = "it is tried again, and what was known stays in use"
        if isinstance(error, ApiFailed) and error.status == 401:
            advice = "renew our credentials: the token or certificate is not accepted"
        elif isinstance(error, ApiFailed) and error.status == 403:
            advice = f"bind our account to a ClusterRole that may list and watch {plural}"
            if scope.cls in self._dispensable:
                advice += "; everything else works without it"
                self._listed(scope)
        self._complain(("kind", *scope), Problem("API server", plural, str(error), advice))

    def _complain(self, origin: object, problem: Problem) -> None:
        for new in self.problems.replace(origin, [problem]):
            log.warning("%s", new)
