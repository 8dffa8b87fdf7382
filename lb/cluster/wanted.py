"""Objects that are only read if a consumer wants them: who is wanted, and how to read many of them. Pure.

Secrets of a whole cluster are nobody's to keep: a source has the names of all, and the content of those that are
wanted. Nothing is known here of when or whence they come.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from lb.cluster.objects import Key

FEW = 8
"""So many are read one by one, wherever they are."""
OBJECTS_PER_REQUEST = 10
"""A request costs both sides about as much as so many more objects in the answer to a list."""


class Wanted:
    """What consumers of a store want read. Sources that read everything take no notice of it."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.coming: set[Key] = set()
        """Those that are there, or may be, and are being read. The source's to write."""
        self.on_want: Callable[[Key], None] = _nobody
        self.on_release: Callable[[Key], None] = _nobody

    def want(self, key: Key) -> None:
        if key not in self.keys:
            self.keys.add(key)
            self.on_want(key)

    def release(self, key: Key) -> None:
        """Nobody wants it any more: what is in it will be forgotten."""
        if key in self.keys:
            self.keys.remove(key)
            self.on_release(key)


class Reading(NamedTuple):
    """One list that answers for some keys: of one name, "" for all of a namespace; both "" for all there are."""

    namespace: str
    name: str
    keys: frozenset[Key]


def plan_readings(
    keys: Collection[Key], there: Iterable[Key], *, everywhere: bool, lists: bool = True
) -> list[Reading]:
    """How to read these keys with the least work.

    there: all of their kind. everywhere: those of all namespaces may be listed at once; lists: several may be.
    """
    single = [Reading(key.namespace, key.name, frozenset((key,))) for key in keys]
    if len(keys) <= FEW or not lists:
        return single
    found = Counter(key.namespace for key in there)
    if everywhere and len(keys) * OBJECTS_PER_REQUEST >= found.total():
        return [Reading("", "", frozenset(keys))]
    by_namespace: dict[str, list[Reading]] = {}
    for each in single:
        by_namespace.setdefault(each.namespace, []).append(each)
    planned: list[Reading] = []
    for namespace, readings in by_namespace.items():
        if len(readings) > FEW and len(readings) * OBJECTS_PER_REQUEST >= found[namespace]:
            planned.append(Reading(namespace, "", frozenset(key for each in readings for key in each.keys)))
        else:
            planned += readings
    return planned


def _nobody(key: Key) -> None:
    """Whoever reads everything anyway."""
