"""What the annotations of an Ingress come to, ready for its routes. Groups of annotations read; here it is gathered."""

from collections.abc import Mapping
from typing import Any

import msgspec

from ingress.filters import FILTERS
from ingress.filters.closed import ClosedSpecification
from ingress.routes.annotations import Find, read_annotations
from ingress.routes.annotations.reader import PREFIXES
from ingress.routes.annotations.wishes import Wishes
from ingress.routes.model import FilterLine
from lb.cluster.objects import Ingress, Key
from lb.cluster.problems import Problem

_ORDER = {name: number for number, name in enumerate(FILTERS)}


class Treatment(msgspec.Struct, frozen=True):
    """Shared by all routes of an Ingress."""

    wishes: Wishes = msgspec.field(default_factory=Wishes)
    filters: tuple[FilterLine, ...] = ()
    """In the order of running."""
    options: tuple[tuple[str, Any], ...] = ()
    problems: tuple[Problem, ...] = ()
    references: frozenset[Key] = frozenset()
    """Objects whose change means that the annotations must be read again."""


PLAIN = Treatment()


class Treatments:
    """Reads Ingresses with one ConfigMap behind them. Ingresses without annotations of ours share what they get."""

    def __init__(self, config: Mapping[str, str], find: Find, *, prefixes: tuple[str, ...] = PREFIXES) -> None:
        self.config = config
        self._find = find
        self._prefixes = prefixes
        self._plain: dict[tuple[bool, bool], Treatment] = {}
        """By whether there is TLS, and whether ingress-nginx is followed: groups look at nothing else of such."""

    def of(self, ingress: Ingress, *, compat: bool, strict: bool) -> Treatment:
        """compat: departures of ingress-nginx from the specification count; strict: it was asked for by name."""
        annotations = ingress.metadata.annotations
        if annotations and any(key.startswith(self._prefixes) for key in annotations):
            return self._read(ingress, compat, strict)
        kind = (bool(ingress.spec.tls), compat)
        found = self._plain.get(kind)
        if found is None:
            found = self._plain[kind] = msgspec.structs.replace(self._read(ingress, compat, strict), problems=())
        return found

    def _read(self, ingress: Ingress, compat: bool, strict: bool) -> Treatment:
        wishes, problems, references = read_annotations(
            ingress, self.config, self._find, prefixes=self._prefixes, compat=compat
        )
        wishes.strict = strict
        if wishes.closed:
            wishes.filters["closed"] = ClosedSpecification(wishes.closed)
        return Treatment(
            wishes, filter_lines(wishes.filters), option_pairs(wishes.options), tuple(problems), frozenset(references)
        )


def filter_lines(filters: Mapping[str, msgspec.Struct]) -> tuple[FilterLine, ...]:
    """Specifications as they go to the workers, in the order of running."""
    return tuple((name, msgspec.msgpack.encode(filters[name])) for name in sorted(filters, key=_ORDER.__getitem__))


def option_pairs(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(options.items()))
