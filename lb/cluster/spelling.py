"""Fields nobody knows that look like one we read: `tragetPort`, `loadbalancerIP`. Pure.

Unknown fields are skipped everywhere else, as the API grows new ones; but a misspelt one, skipped, turns into a default
that its author did not ask for. kubectl has the API server refuse such documents, too (strict field validation).
"""

import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

import msgspec

from lb.cluster.kinds import Fault
from lb.cluster.objects import (
    EndpointSlice,
    Ingress,
    IngressSpec,
    Object,
    Service,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
)

CLOSE = 0.8

_LOOKED_AT: dict[type[Object], tuple[tuple[str, type[msgspec.Struct]], ...]] = {
    Service: (("spec", ServiceSpec),),
    Ingress: (("spec", IngressSpec),),
    EndpointSlice: (("endpoints", SliceEndpoint), ("ports", SlicePort)),
}
"""Where our structs have every field of the API; elsewhere one that we leave out may look like one of ours."""


def misspelt(cls: type[Object], content: Mapping[str, Any]) -> tuple[Fault, ...]:
    """Return a Fault for each unknown field that is close to one that is not given."""
    return tuple(
        fault for name, struct in _LOOKED_AT.get(cls, ()) for fault in _inside(name, struct, content.get(name))
    )


def _inside(path: str, struct: type[msgspec.Struct], value: Any) -> Iterator[Fault]:
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _inside(f"{path}[{index}]", struct, each)
    if not isinstance(value, dict):
        return
    fields = _fields(struct)
    for name, each in value.items():
        if name in fields:
            below = fields[name]
            if below is not None:
                yield from _inside(f"{path}.{name}", below, each)
            continue
        meant = _meant(name, [field for field in fields if field not in value])
        if meant:
            yield Fault(f"{path}.{name}", "is not a field of the API", f"did you mean {meant}?")


def _meant(name: str, fields: list[str]) -> str:
    for field in fields:
        if field.lower() == name.lower():
            return field
    return next(iter(get_close_matches(name, fields, n=1, cutoff=CLOSE)), "")


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct] | None]:
    """The struct's fields by their names in the API, with the struct inside each, if there is one."""
    hints = typing.get_type_hints(struct)
    return {field.encode_name: _struct_of(hints[field.name]) for field in msgspec.structs.fields(struct)}


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and not isinstance(hint, types.GenericAlias):
        return hint if issubclass(hint, msgspec.Struct) else None
    if typing.get_origin(hint) is dict:
        return None
    return next(filter(None, map(_struct_of, typing.get_args(hint))), None)
