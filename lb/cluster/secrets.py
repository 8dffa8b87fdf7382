"""Source: the Secrets that somebody wants, of an API server. Of the others the store has the names.

`ApiServer` lists and watches metadata alone and tells it here, as it tells the store of other kinds. What is in a
Secret is read when a consumer wants it, and again when its version is another. Whatever fails, what was read stays.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from lb.cluster.connection import ApiFailed, Connection, path_of
from lb.cluster.objects import Key, Metadata, Object, Secret, UnreadSecret
from lb.cluster.problems import Problem, Problems
from lb.cluster.store import ObjectStore
from lb.cluster.wanted import FEW, Reading, plan_readings
from lb.cluster.wire import Bad, BadWire, read_some

log = logging.getLogger(__name__)

SELECTOR = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token"
"""Not those that nobody refers to: records of Helm, by far the largest, and credentials of others."""
AT_ONCE = 8
"""Requests under way."""
ANSWER_SECONDS = 10.0
"""Ingresses that have changed may wait for it."""
TRIES = 3
"""What could not be read so often is no longer waited for; it is tried on."""
NAMED_MAX = 100
"""Where no list of names is allowed, so many Secrets are asked for by their names, again and again."""
ADVICE = "it is tried again"


class Secrets:
    """Takes the store's place for what an API server says of Secrets. Writer of `store.wanted.coming`."""

    def __init__(
        self,
        connection: Connection,
        store: ObjectStore,
        problems: Problems,
        *,
        namespaces: Sequence[str],
        page_objects: int,
        pause: Callable[[int], float],
    ) -> None:
        """namespaces: all that are followed, "" for the whole cluster; pause: seconds before a try, by failures."""
        self._connection = connection
        self._store = store
        self._wanted = store.wanted
        self._problems = problems
        self._page_objects = page_objects
        self._pause = pause
        self._unlisted = dict.fromkeys(namespaces, 0)  # -> how often the list of names was refused
        self._namespaces = frozenset(namespaces)
        self._due: dict[Key, None] = {}
        self._tries: dict[Key, int] = {}
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()
        self._wanted.on_want = self._want
        self._wanted.on_release = self._release
        for key in self._wanted.keys:
            self._want(key)

    async def run(self) -> None:
        """Read until cancelled."""
        readings: asyncio.Queue[Reading] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(self._read_on(readings), name=f"read Secrets {number}")
            while True:
                await self._wake.wait()
                self._wake.clear()
                due, self._due = self._due, {}
                there = self._store.keys(Secret.KIND) if len(due) > FEW else ()  # a change costs what is changed
                for reading in plan_readings(due, there, everywhere="" in self._namespaces, lists=not self._unlisted):
                    readings.put_nowait(reading)

    async def settle(self, seconds: float) -> None:
        """Wait until what is wanted has been read. If nothing comes for so long, the rest is no longer waited for."""
        try:
            while self._wanted.coming:
                self._settled.clear()
                async with asyncio.timeout(seconds):
                    await self._settled.wait()
        except TimeoutError:
            for key in list(self._wanted.coming):
                self._unreadable(key, "the API server has not answered in time")

    # -- what the server says of names: as a store

    def keys(self, kind: str) -> list[Key]:
        return self._store.keys(kind)

    def find(self, key: Key) -> Object | None:
        return self._store.find(key)

    def put(self, named: Object) -> None:
        key, before = named.key, self._store.find(named.key)
        wanted = key in self._wanted.keys
        if before is None or (wanted and isinstance(before, UnreadSecret)):
            self._store.put(_unread(key))
            if wanted:
                self._wanted.coming.add(key)
        elif before.metadata.resource_version == named.metadata.resource_version:
            return  # we were quicker
        if wanted:
            self._read(key)

    def remove(self, key: Key) -> None:
        self._forget(key)
        self._store.remove(key)

    def replace_kind(self, cls: type[Object], now: Iterable[Object], *, namespace: str = "") -> None:
        named = {each.key: each for each in now}
        for key in {*self.keys(cls.KIND), *self._wanted.coming}:
            if key not in named and namespace in ("", key.namespace):
                self.remove(key)
        self._unlisted.pop(namespace, None)
        for each in named.values():
            self.put(each)

    def refused(self, namespace: str) -> None:
        """The names cannot be listed, or not watched: what is wanted is asked for by its name now and then."""
        if namespace in self._unlisted:
            self._unlisted[namespace] += 1
        concerned = [key for key in self._wanted.keys if namespace in ("", key.namespace)]
        for key in concerned:
            if len(concerned) <= NAMED_MAX:
                self._read(key)
            elif key in self._wanted.coming and self._unlisted.get(namespace, 0) >= TRIES:
                self._unreadable(key, "Secrets may not be listed")

    # -- what consumers say

    def _want(self, key: Key) -> None:
        scope = self._scope(key)
        if scope not in self._namespaces:
            return
        listed = scope not in self._unlisted
        if listed and self._store.find(key) is None:
            return  # it does not exist
        self._wanted.coming.add(key)
        if not listed:
            self._store.put(_unread(key))
        if listed or self._unlisted[scope]:
            self._read(key)

    def _release(self, key: Key) -> None:
        self._forget(key)
        if self._store.find(key) is not None:
            self._store.put(_unread(key))

    def _scope(self, key: Key) -> str:
        return "" if "" in self._namespaces else key.namespace

    # -- reading

    def _read(self, key: Key) -> None:
        self._due[key] = None
        self._wake.set()

    async def _read_on(self, readings: "asyncio.Queue[Reading]") -> None:
        while True:
            reading = await readings.get()
            try:
                await self._answer(reading)
            except (ApiFailed, BadWire) as error:
                log.debug("%d Secrets could not be read: %s", len(reading.keys), error)
                self._failed(reading.keys, error)

    async def _answer(self, reading: Reading) -> None:
        """Ask for the whole of a list, keep what is wanted of each part."""
        named = f"metadata.name={reading.name}," if reading.name else ""
        query = {"fieldSelector": named + SELECTOR, "limit": str(self._page_objects)}
        missing = set(reading.keys)
        while True:
            body = await self._part(path_of(Secret, reading.namespace), query)
            page = read_some(Secret, body, missing)
            for found in page.objects:
                self._take(found)
            missing -= {found.key for found in page.objects}
            if not page.more:
                break
            query["continue"] = page.more
        for key in missing:
            if key not in self._due:
                self.remove(key)

    async def _part(self, path: str, query: Mapping[str, str]) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._connection.get(path, query)
        except TimeoutError:
            raise ApiFailed(0, "no answer in time") from None

    def _take(self, found: Object | Bad) -> None:
        key = found.key
        gone = self._store.find(key) is None and self._scope(key) not in self._unlisted
        if key not in self._wanted.keys or key in self._due or gone:
            return  # nobody wants it any more, or what has been heard since then is newer
        if isinstance(found, Bad):
            self._not_read(key, str(found.why))
            return
        self._arrived(key)
        self._problems.replace(key, ())
        self._store.put(found)

    def _failed(self, keys: frozenset[Key], error: ApiFailed | BadWire) -> None:
        again: dict[int, list[Key]] = {}
        refused = isinstance(error, ApiFailed) and error.status == 403
        for key in keys & self._wanted.keys:
            tries = self._tries[key] = self._tries.get(key, 0) + 1
            if tries >= TRIES:
                self._not_read(key, str(error))
            if tries < TRIES or not refused:  # else once the names can be listed
                again.setdefault(tries, []).append(key)
        loop = asyncio.get_running_loop()
        for tries, due in again.items():
            loop.call_later(self._pause(tries), self._again, due)

    def _again(self, keys: Iterable[Key]) -> None:
        for key in keys:
            if key in self._tries:
                self._read(key)

    def _not_read(self, key: Key, why: str) -> None:
        """Not for now: what we have of it stays in use, or its Ingresses are told why there is nothing."""
        if isinstance(self._store.find(key), UnreadSecret | None):
            self._unreadable(key, why)
            return
        reason = f"it cannot be read: {why}; the last good version stays in use"
        for new in self._problems.replace(key, [Problem(str(key), "", reason, ADVICE)]):
            log.warning("%s", new)

    def _unreadable(self, key: Key, why: str) -> None:
        self._wanted.coming.discard(key)
        self._store.put(_unread(key, why))
        self._settled.set()

    def _arrived(self, key: Key) -> None:
        self._tries.pop(key, None)
        self._wanted.coming.discard(key)
        self._settled.set()

    def _forget(self, key: Key) -> None:
        self._due.pop(key, None)
        self._problems.replace(key, ())
        self._arrived(key)


def _unread(key: Key, why: str = "") -> UnreadSecret:
    return UnreadSecret(metadata=Metadata(name=key.name, namespace=key.namespace), why=why)
