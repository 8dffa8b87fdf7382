"""What the API server says, byte by byte: lists and watch events -> our objects. Pure.

Bodies are JSON decoded straight into our structs; fields nobody here reads are skipped, not built.
Source: Kubernetes API concepts, "Efficient detection of changes" and "Retrieving large results sets in chunks".
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from lb.cluster.objects import BadObject, Key, Metadata, Object, decode

T = TypeVar("T", bound=Object)


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct):
    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class _Named(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Bare(msgspec.Struct):
    metadata: _Named = msgspec.field(default_factory=_Named)


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Bad:
    """An object that cannot be decoded, and why."""

    key: Key
    why: BadObject


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `more` is the token for the next part, "" at the end."""

    objects: list[Object | Bad]
    version: str
    more: str


@dataclass(frozen=True, slots=True)
class Changed:
    found: Object | Bad
    version: str


@dataclass(frozen=True, slots=True)
class Deleted:
    key: Key
    version: str


@dataclass(frozen=True, slots=True)
class Bookmark:
    version: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The server ends the watch: 410 when `resourceVersion` is too old."""

    code: int
    message: str


Event = Changed | Deleted | Bookmark | Refused


class BadWire(Exception):
    """The answer is not what an API server sends; somebody else may be answering."""


def read_page(cls: type[Object], body: bytes, *, names_only: bool = False) -> Page:
    """Decode one page of a list; names_only: of each object the name and version, whatever else is there.

    Raises BadWire.
    """
    try:
        page = msgspec.json.decode(body, type=_Page)
    except msgspec.MsgspecError as error:
        raise BadWire(f"not a list of {cls.KIND}: {error}") from None
    read = _name if names_only else _object
    objects = [read(cls, raw) for raw in page.items or ()]
    return Page(objects, page.metadata.resource_version, page.metadata.continue_)


def read_some(cls: type[Object], body: bytes, keys: Collection[Key]) -> Page:
    """Decode those of these keys that are in one page of a list; nothing is built of the others. Raises BadWire."""
    try:
        page = msgspec.json.decode(body, type=_Page)
        wanted = [raw for raw in page.items or () if _key(cls, msgspec.json.decode(raw, type=_Bare).metadata) in keys]
    except msgspec.MsgspecError as error:
        raise BadWire(f"not a list of {cls.KIND}: {error}") from None
    return Page([_object(cls, raw) for raw in wanted], page.metadata.resource_version, page.metadata.continue_)


def read_event(cls: type[Object], line: bytes, *, names_only: bool = False) -> Event:
    """Decode one line of a watch; names_only as with `read_page`. Raises BadWire."""
    try:
        event = msgspec.json.decode(line, type=_Event)
        if event.type == "ERROR":
            status = msgspec.json.decode(event.object, type=_Status)
            return Refused(status.code, status.message)
        bare = msgspec.json.decode(event.object, type=_Bare)
    except msgspec.MsgspecError as error:
        raise BadWire(f"not a watch event of {cls.KIND}: {error}") from None
    version = bare.metadata.resource_version
    if event.type == "BOOKMARK":
        return Bookmark(version)
    if event.type == "DELETED":
        return Deleted(_key(cls, bare.metadata), version)
    if event.type in ("ADDED", "MODIFIED"):
        return Changed((_name if names_only else _object)(cls, event.object), version)
    raise BadWire(f"unknown watch event {event.type!r}")


class Lines:
    """Cuts a stream of bytes into lines, wherever it was cut into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the lines that `piece` completes, without their ends; empty lines are left out."""
        searched = len(self._rest)
        self._rest += piece
        if b"\n" not in piece:  # an object of megabytes comes in many pieces: look at each byte once
            return
        end = self._rest.rfind(b"\n", searched)
        whole = bytes(self._rest[:end])
        del self._rest[: end + 1]
        for line in whole.split(b"\n"):
            if line.strip():
                yield line


def _object(cls: type[Object], raw: msgspec.Raw) -> Object | Bad:
    try:
        return msgspec.json.decode(raw, type=cls)
    except msgspec.MsgspecError:
        pass
    # Seldom: Go writes null for a list that was never made. The slower way knows what null means.
    try:
        content = _without_nulls(msgspec.json.decode(raw))
        return decode({**content, "kind": cls.KIND, "apiVersion": cls.API_VERSION})
    except BadObject as why:
        metadata = msgspec.json.decode(raw, type=_Bare).metadata if _has_name(raw) else _Named()
        return Bad(_key(cls, metadata), why)


def _name(cls: type[Object], raw: msgspec.Raw) -> Object | Bad:
    try:
        metadata = msgspec.json.decode(raw, type=_Bare).metadata
    except msgspec.MsgspecError as error:
        return Bad(Key(cls.KIND, "", ""), BadObject("metadata", str(error)))
    name, namespace, version = metadata.name, metadata.namespace, metadata.resource_version
    return cls(metadata=Metadata(name=name, namespace=namespace, resource_version=version))


def _key(cls: type[Object], metadata: _Named) -> Key:
    return Key(cls.KIND, metadata.namespace, metadata.name)


def _has_name(raw: msgspec.Raw) -> bool:
    try:
        return bool(msgspec.json.decode(raw, type=_Bare).metadata.name)
    except msgspec.MsgspecError:
        return False


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value
