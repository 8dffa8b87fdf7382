"""What the annotations of an Ingress come to, ready for its routes. Groups of annotations read; here it is gathered."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from ingress.filters import EXTENSION, EXTENSIONS_AFTER, FILTERS
from ingress.filters.closed import ClosedSpecification
from ingress.filters.scheme import SchemeSpecification
from ingress.routes.annotations import Find, Idle, blocks, headers, read_annotations
from ingress.routes.annotations.reader import NO_EXTENSIONS, PREFIXES, Reader
from ingress.routes.annotations.wishes import Wishes
from ingress.routes.model import VARIANT_MARK, FilterLine, Variant
from lb.cluster.objects import Ingress, Key, Metadata
from lb.cluster.problems import Problem

_canonical = msgspec.msgpack.Encoder(order="deterministic")
_ORDER = {name: number for number, name in enumerate(FILTERS)}


class Treatment(msgspec.Struct, frozen=True):
    """Shared by all routes of an Ingress."""

    wishes: Wishes = msgspec.field(default_factory=Wishes)
    filters: tuple[FilterLine, ...] = ()
    """In the order of running."""
    tls_filters: tuple[FilterLine, ...] = ()
    """The same for hosts that there is TLS for."""
    options: tuple[tuple[str, Any], ...] = ()
    also: tuple[str, ...] = ()
    """Backends that the filters may choose."""
    variant: Variant | None = None
    """Of every backend that its rules name."""
    secure: Variant | None = None
    """The same for requests that have come by TLS, if they are treated in another way."""
    problems: tuple[Problem, ...] = ()
    references: frozenset[Key] = frozenset()
    """Objects whose change means that the annotations must be read again."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        return tuple(each for each in (self.variant, self.secure) if each is not None)


PLAIN = Treatment()


class Treatments:
    """Reads Ingresses with one ConfigMap behind them. Ingresses without annotations of ours share what they get."""

    def __init__(
        self,
        config: Mapping[str, str],
        find: Find,
        *,
        prefixes: tuple[str, ...] = PREFIXES,
        default_backend: str = "",
        extensions: Mapping[str, type[msgspec.Struct]] = NO_EXTENSIONS,
        https_port: int = 443,
    ) -> None:
        self.config = config
        self.default_backend = default_backend
        self.extensions = extensions
        self.https_port = https_port
        self._find = find
        self._prefixes = prefixes
        self._idle = Idle(config, find, default_backend, https_port)
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

    def of_rest(self, *, compat: bool) -> Treatment:
        """For requests that no Ingress takes, of what the operator says for all: fields, and whom to block."""
        reader = Reader(Ingress(metadata=Metadata(name="")), self.config, self._find, compat=compat)
        wishes = Wishes()
        for group in (headers, blocks):
            group.read(reader, wishes)
        return _treated(wishes, (), reader.references)

    def forget(self, key: Key) -> None:
        """An object has changed: forget what all Ingresses share of it."""
        if self._idle.forget(key):
            self._plain.clear()

    def _read(self, ingress: Ingress, compat: bool, strict: bool) -> Treatment:
        wishes, problems, references = read_annotations(
            ingress,
            self.config,
            self._find,
            prefixes=self._prefixes,
            compat=compat,
            default_backend=self.default_backend,
            idle=self._idle,
            extensions=self.extensions,
            https_port=self.https_port,
        )
        wishes.strict = strict
        return _treated(wishes, problems, references)


def _treated(wishes: Wishes, problems: Iterable[Problem], references: Iterable[Key]) -> Treatment:
    if wishes.closed:
        wishes.filters["closed"] = ClosedSpecification(wishes.closed)
    secure = _secure(wishes)
    if secure is not None:
        wishes.filters["scheme"] = SchemeSpecification(secure.suffix)
    lines = filter_lines(wishes.filters)
    return Treatment(
        wishes,
        lines,
        filter_lines({**wishes.filters, **wishes.tls_filters}) if wishes.tls_filters else lines,
        tuple(sorted(wishes.options.items())),
        tuple(sorted(wishes.backends)),
        variant_of(wishes.backend, cluster_ip=wishes.service_upstream),
        secure,
        tuple(problems),
        frozenset(references),
    )


def _secure(wishes: Wishes) -> Variant | None:
    """Of backends, for requests that have come by TLS; None: the same as for others."""
    if not wishes.secure:
        return None
    transport = {**wishes.backend.get("transport", {}), **wishes.secure}
    return variant_of({**wishes.backend, "transport": transport}, cluster_ip=wishes.service_upstream)


def filter_lines(filters: Mapping[str, msgspec.Struct]) -> tuple[FilterLine, ...]:
    """Specifications as they go to the workers, in the order of running."""
    named = sorted(filters, key=_place)
    return tuple((name, msgspec.msgpack.encode(filters[name])) for name in named)


def with_filter(lines: tuple[FilterLine, ...], name: str, specification: object) -> tuple[FilterLine, ...]:
    """The same filters and one more, in its place."""
    line = (name, msgspec.msgpack.encode(specification))
    return tuple(sorted([*lines, line], key=lambda each: _place(each[0])))


def _place(name: str) -> float:
    """Sorting keeps the order of those in the same place: extensions run as the annotation names them."""
    if name.startswith(EXTENSION):
        return _ORDER[EXTENSIONS_AFTER] + 0.5
    return _ORDER.get(name, len(_ORDER))


UDP = Variant(f"{VARIANT_MARK}udp", udp=True)


def variant_of(spec: Mapping[str, Any], *, cluster_ip: bool) -> Variant | None:
    """None: a backend as most are. Equal wishes give equal suffixes, in every process and for ever."""
    if not spec and not cluster_ip:
        return None
    digest = blake2b(_canonical.encode((spec, cluster_ip)), digest_size=6).hexdigest()
    return Variant(VARIANT_MARK + digest, dict(spec), cluster_ip)
