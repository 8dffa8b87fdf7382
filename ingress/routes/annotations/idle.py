"""Groups that an Ingress has no annotation for wish the same for all such Ingresses: worked out once, then merged."""

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from ingress.routes.annotations.reader import Find, Reader
from ingress.routes.annotations.wishes import Wishes
from lb.cluster.objects import Ingress, IngressSpec, IngressTLS, Key, Metadata

_NOTHING = Wishes()
_FIELDS = msgspec.structs.fields(Wishes)


class _Share(NamedTuple):
    """What one group wishes of itself: fields that are not as they begin, and the objects it refers to."""

    fields: tuple[tuple[str, Any], ...]
    references: frozenset[Key]


class Idle:
    """Reads groups, or merges what they wish where they have nothing to read. For one ConfigMap."""

    def __init__(self, config: Mapping[str, str], find: Find, default_backend: str, https_port: int = 443) -> None:
        self._config = config
        self._find = find
        self._default_backend = default_backend
        self._https_port = https_port
        self._shares: dict[tuple[ModuleType, bool, bool], _Share | None] = {}

    def read(self, groups: Iterable[ModuleType], reader: Reader, wishes: Wishes) -> None:
        """As if every group read for itself."""
        named, tls = set(reader.names), bool(reader.ingress.spec.tls)
        for group in groups:
            if named.isdisjoint(group.NAMES):
                share = self._share(group, reader.compat, tls)
                if share is not None and _merge(wishes, share):
                    reader.references |= share.references
                    continue
            group.read(reader, wishes)

    def forget(self, key: Key) -> bool:
        """An object has changed: forget what was made of it. Returns whether there was any."""
        made = [kind for kind, share in self._shares.items() if share and key in share.references]
        for kind in made:
            del self._shares[kind]
        return bool(made)

    def _share(self, group: ModuleType, compat: bool, tls: bool) -> _Share | None:
        """None: the group has something to tell even so, and must be asked each time."""
        kind = (group, compat, tls)
        if kind not in self._shares:
            plain = Ingress(metadata=Metadata(name=""), spec=IngressSpec(tls=(IngressTLS(),) if tls else ()))
            reader = Reader(
                plain,
                self._config,
                self._find,
                compat=compat,
                default_backend=self._default_backend,
                https_port=self._https_port,
            )
            wishes = Wishes()
            group.read(reader, wishes)
            wished = ((each.name, getattr(wishes, each.name)) for each in _FIELDS)
            fields = tuple((name, value) for name, value in wished if value != getattr(_NOTHING, name))
            self._shares[kind] = None if reader.problems else _Share(fields, frozenset(reader.references))
        return self._shares[kind]


def _merge(wishes: Wishes, share: _Share) -> bool:
    """False, and nothing done: an earlier group has wished for the same, so the order of reading matters."""
    for name, value in share.fields:
        before = getattr(wishes, name)
        if isinstance(value, dict):
            if not before.keys().isdisjoint(value):
                return False
        elif before and not isinstance(value, set):
            return False
    for name, value in share.fields:
        if isinstance(value, dict | set):
            getattr(wishes, name).update(value)
        else:
            setattr(wishes, name, value)
    return True
