"""Would this Ingress be served as it says? Pure: nothing is executed, and nothing but its neighbours is looked at.

The Ingress is compiled beside those that claim a host of it, in a table of its own. What that finds wrong with it is a
reason to refuse it; what passes by itself (a Service or Secret that is not there yet) or has no effect is a warning.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from ingress.routes.compile import RoutingTable
from ingress.routes.rules import Claims, read_claims
from lb.cluster.objects import EndpointSlice, Ingress, Key, Object
from lb.cluster.problems import Problem
from lb.cluster.store import ObjectStore

T = TypeVar("T", bound=Object)


class Verdict(msgspec.Struct, frozen=True):
    errors: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


class _Beside(ObjectStore):
    """A few Ingresses instead of the store's; everything else as the store has it."""

    def __init__(self, base: ObjectStore) -> None:
        super().__init__()
        self.base = base

    def get(self, cls: type[T], namespace: str, name: str) -> T | None:
        return super().get(cls, namespace, name) if cls is Ingress else self.base.get(cls, namespace, name)

    def all(self, cls: type[T]) -> Iterator[T]:
        return super().all(cls) if cls is Ingress else self.base.all(cls)

    def slices_of(self, namespace: str, service: str) -> list[EndpointSlice]:
        return self.base.slices_of(namespace, service)


def judge(table: RoutingTable, ingress: Ingress) -> Verdict:
    """What would be wrong with this Ingress, were it there instead of the one that has its name now."""
    if table.refusal(ingress):
        return Verdict()  # another controller's business
    store = _Beside(table.store)
    store.put(ingress)
    owner = (ingress.metadata.namespace, ingress.metadata.name)
    claims = read_claims(ingress, table.treatment(ingress))
    for neighbour in table.neighbours(claims):
        found = None if neighbour == owner else table.ingress(*neighbour)
        if found is not None:
            store.put(found)
    apart = table.apart(store)
    apart.update(None)
    return _sorted(apart, Key(Ingress.KIND, *owner), claims)


def _sorted(apart: RoutingTable, key: Key, claims: Claims) -> Verdict:
    title = f"Ingress {claims.title}"
    about_it = [problem for problem in apart.problems if problem.object == title]
    grave = {problem for problem in apart.problems.of(key) if not problem.minor}
    for origin in [*(("host", host) for host in claims.hosts), *(("name", name) for name in claims.other_names)]:
        grave.update(problem for problem in apart.problems.of(origin) if not problem.minor)
    return Verdict(
        tuple(problem for problem in about_it if problem in grave),
        tuple(problem for problem in about_it if problem not in grave),
    )
