"""What is known of the cluster: objects by kind and name, who refers to whom, and what has changed.

Pure: no loop, no clock, no I/O. A source puts and removes objects; every consumer holds a `Subscription`, a set of
dirty keys that it takes when it is ready. Consumers look at the whole current state of a key, never at an event, so a
lost, doubled or reordered event leaves nothing wrong behind.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, cast

import msgspec

from lb.cluster.objects import EndpointSlice, Key, Object, Pod
from lb.cluster.wanted import Wanted

T = TypeVar("T", bound=Object)


class Subscription:
    """Keys that have changed since the last `take`, of the kinds asked for."""

    def __init__(self, kinds: frozenset[str], wake: Callable[[], None]) -> None:
        self.kinds = kinds
        self._dirty: dict[Key, None] = {}  # a dict keeps the order in which keys became dirty
        self._wake = wake

    def mark(self, key: Key) -> None:
        self._dirty[key] = None
        self._wake()

    def take(self) -> list[Key]:
        """Return the dirty keys, oldest first, and forget them."""
        taken = list(self._dirty)
        self._dirty.clear()
        return taken

    def __len__(self) -> int:
        return len(self._dirty)


class ObjectStore:
    """Objects by kind, namespace and name, with the look-ups that several consumers need."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._slices: dict[tuple[str, str], dict[str, EndpointSlice]] = {}
        self._pods_by_ip: dict[str, dict[Key, Pod]] = {}
        self._subscriptions: list[Subscription] = []
        self.wanted = Wanted()
        """What consumers want read of kinds whose objects are only read then."""

    # -- reading

    def get(self, cls: type[T], namespace: str, name: str) -> T | None:
        """Return the object, or None. `namespace` is "" for kinds without one."""
        return cast("T | None", self._objects.get(cls.KIND, {}).get((namespace, name)))

    def all(self, cls: type[T]) -> Iterator[T]:
        """Iterate over a snapshot of all objects of a kind; it may change underneath."""
        return iter(cast("list[T]", list(self._objects.get(cls.KIND, {}).values())))

    def count(self, cls: type[Object]) -> int:
        return len(self._objects.get(cls.KIND, {}))

    def find(self, key: Key) -> Object | None:
        return self._objects.get(key.kind, {}).get((key.namespace, key.name))

    def slices_of(self, namespace: str, service: str) -> list[EndpointSlice]:
        """The EndpointSlices labelled with this Service, ordered by name."""
        found = self._slices.get((namespace, service), {})
        return [found[name] for name in sorted(found)]

    def pods_at(self, ip: str) -> list[Pod]:
        """Pods whose status has this address; several with host networking, or while one replaces another."""
        return list(self._pods_by_ip.get(ip, {}).values())

    def keys(self, kind: str) -> list[Key]:
        return [Key(kind, namespace, name) for namespace, name in self._objects.get(kind, {})]

    # -- writing

    def put(self, found: Object) -> bool:
        """Add or replace an object; return whether anything is different from before.

        A new resourceVersion alone is no difference: the API server gives one for changes to fields nobody here reads.
        """
        of_kind = self._objects.setdefault(found.KIND, {})
        name = (found.metadata.namespace, found.metadata.name)
        before = of_kind.get(name)
        if before is found or before == found:
            return False
        if before is not None:
            self._unindex(before)
        of_kind[name] = found
        self._index(found)
        if before is not None and _same_but_version(before, found):
            return False
        self._mark(found.key, before, found)
        return True

    def remove(self, key: Key) -> bool:
        """Forget an object; return whether it was there."""
        before = self._objects.get(key.kind, {}).pop((key.namespace, key.name), None)
        if before is None:
            return False
        self._unindex(before)
        self._mark(key, before, None)
        return True

    def replace_kind(self, cls: type[Object], now: Iterable[Object], *, namespace: str = "") -> None:
        """Make `now` all there is of a kind, in one namespace or in all: what a full list says.

        Only differences are marked dirty.
        """
        wanted = {found.key: found for found in now}
        for key in self.keys(cls.KIND):
            if key not in wanted and namespace in ("", key.namespace):
                self.remove(key)
        for found in wanted.values():
            self.put(found)

    # -- being told

    def subscribe(self, kinds: Iterable[type[Object]], wake: Callable[[], None] = lambda: None) -> Subscription:
        """Watch some kinds. Everything there already is dirty at once; `wake` is called at each change."""
        subscription = Subscription(frozenset(cls.KIND for cls in kinds), wake)
        self._subscriptions.append(subscription)
        for kind in subscription.kinds:
            for key in self.keys(kind):
                subscription.mark(key)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.remove(subscription)

    def _mark(self, key: Key, before: Object | None, now: Object | None) -> None:
        for subscription in self._subscriptions:
            if key.kind in subscription.kinds:
                subscription.mark(key)
                # What concerns a Service concerns the consumer of Services: a slice marks its owner too,
                # also the former one when its label has moved.
                if key.kind == EndpointSlice.KIND and "Service" in subscription.kinds:
                    for each in (before, now):
                        if isinstance(each, EndpointSlice) and each.service_name:
                            subscription.mark(Key("Service", key.namespace, each.service_name))

    # -- indexes

    def _index(self, found: Object) -> None:
        if isinstance(found, EndpointSlice):
            owner = (found.metadata.namespace, found.service_name)
            self._slices.setdefault(owner, {})[found.metadata.name] = found
        elif isinstance(found, Pod):
            for ip in found.ips:
                self._pods_by_ip.setdefault(ip, {})[found.key] = found

    def _unindex(self, found: Object) -> None:
        if isinstance(found, EndpointSlice):
            owner = (found.metadata.namespace, found.service_name)
            slices = self._slices[owner]
            del slices[found.metadata.name]
            if not slices:
                del self._slices[owner]
        elif isinstance(found, Pod):
            for ip in set(found.ips):
                pods = self._pods_by_ip[ip]
                del pods[found.key]
                if not pods:
                    del self._pods_by_ip[ip]


def _same_but_version(before: Object, now: Object) -> bool:
    version = now.metadata.resource_version
    if before.metadata.resource_version == version:
        return False  # then something else differs
    return (
        msgspec.structs.replace(before, metadata=msgspec.structs.replace(before.metadata, resource_version=version))
        == now
    )
