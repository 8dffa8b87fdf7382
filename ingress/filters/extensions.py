"""Filters of other packages, installed beside Causeway and allowed by the operator.

A package names its filter in the entry point group GROUP, name -> class; the class is as those of this folder
(api.py). deploy/examples/filters is one. `causeway.dev/filters` of an Ingress asks for it; the controller imports
what --allow-filters names, workers what a route needs.
"""

import re
from importlib.metadata import entry_points
from typing import Any

import msgspec

from ingress.filters.api import Filter

GROUP = "causeway.filters"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


class NotUsable(Exception):
    """There is no such filter, or it cannot be imported; the text says why."""


def load(name: str) -> type[Filter[Any]]:
    """The class of the filter of that name. Raises NotUsable."""
    found = list(entry_points(group=GROUP, name=name)) if _NAME.fullmatch(name) else []
    if not found:
        there = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise NotUsable(f'no installed package has a filter "{name}" (entry point group {GROUP}); there is: {there}')
    if len({each.value for each in found}) > 1:
        raise NotUsable(f'several packages have a filter "{name}": {", ".join(each.value for each in found)}')
    try:
        kind = found[0].load()
    except Exception as error:  # whatever another package's import may raise
        raise NotUsable(f"filter {name}, {found[0].value}, cannot be imported: {error!r}") from error
    if not (isinstance(kind, type) and issubclass(kind, Filter)):
        raise NotUsable(f"filter {name}: {found[0].value} is no class derived from ingress.filters.api.Filter")
    specification = getattr(kind, "Specification", None)
    if not (isinstance(specification, type) and issubclass(specification, msgspec.Struct)):
        raise NotUsable(f"filter {name}: {found[0].value} has no Specification, a msgspec.Struct")
    return kind


def specifications(names: tuple[str, ...]) -> dict[str, type[msgspec.Struct]]:
    """Name -> what it is told. Raises NotUsable."""
    return {name: load(name).Specification for name in names}
