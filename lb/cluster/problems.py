"""What an operator must correct, and where it is kept until it is corrected.

A Problem harms only the object it names. Everything that finds one (a source, the route compiler, the address
allocator) keeps its own in a `Problems` collection under an origin, so that a corrected object takes its Problem away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong with one object.

    `object` is "Ingress shop/web" or a file's name when no object could be read; `field` is a path such as
    "spec.rules[0].host" ("" if the whole object is meant); `advice` says what to do now; `where` is "file:line" in
    file mode and "" otherwise.
    """

    object: str
    field: str
    reason: str
    advice: str = ""
    where: str = ""
    minor: bool = False
    """It has no effect, or goes when another object comes: no reason to refuse the object."""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        field = f" {self.field}:" if self.field else ""
        advice = f" ({self.advice})" if self.advice else ""
        return f"{place}{self.object}:{field} {self.reason}{advice}"


class Problems:
    """Problems by origin: a file's path, an object's key, whatever the finder replaces as a whole."""

    def __init__(self) -> None:
        self._by_origin: dict[object, tuple[Problem, ...]] = {}
        self._count = 0
        self.changes = 0
        """How many there were. Who looks again and again need not while it is the same."""

    def replace(self, origin: object, found: Iterable[Problem]) -> tuple[Problem, ...]:
        """Set what is wrong with `origin` now; return those that were not there before (to be logged once)."""
        now = tuple(found)
        before = self._by_origin.pop(origin, ())
        if now:
            self._by_origin[origin] = now
        if now == before:
            return ()
        self._count += len(now) - len(before)
        self.changes += 1
        return tuple(problem for problem in now if problem not in before)

    def of(self, origin: object) -> tuple[Problem, ...]:
        """What is wrong with one origin."""
        return self._by_origin.get(origin, ())

    def __iter__(self) -> Iterator[Problem]:
        for each in self._by_origin.values():
            yield from each

    def __len__(self) -> int:
        return self._count
