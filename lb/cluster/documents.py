"""Manifest text -> objects and what is wrong with them, each with its line. Pure.

A file is cut at its `---` lines and every document is read on its own, so a broken one harms only itself; a document
whose text has not changed is not read again (`known`), so a change costs what has changed.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml

from lb.cluster.kinds import Fault, foreign, kind_fault
from lb.cluster.nodes import NESTING_MAX, BadNode, Values, child, line_of
from lb.cluster.objects import KINDS, BadObject, Key, Object, Secret, decode
from lb.cluster.spelling import misspelt
from lb.cluster.validate import validate

# The C scanner is ten times as fast; a PyYAML built without libyaml reads the same.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_PREAMBLE = re.compile(r"(?:[ \t]*(?:[%#].*)?\r?\n)*")
_DASHES = re.compile(r"(?:[-?:][ \t]+){32}")

Check = Callable[[Object], tuple[Fault, ...]]
"""What is wrong with a decoded object."""

_CUT = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Located:
    """A Fault and the line it is on, counted from the document's first line (0)."""

    fault: Fault
    line: int


@dataclass(frozen=True, slots=True)
class Found:
    """One object a document holds. `object` is None if something is wrong; `key` is None if not even that is known."""

    line: int
    key: Key | None
    object: Object | None
    wrong: tuple[Located, ...] = ()
    title: str = ""
    """What to call it while it has no key: its kind, or ""."""


@dataclass(frozen=True, slots=True)
class Document:
    """What the text between two `---` lines holds: nothing, one object, or those of a List."""

    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A Document and the line of its file on which it starts (1 is the first)."""

    line: int
    text: str
    document: Document


def read_documents(text: str, known: Mapping[str, Document] | None = None, check: Check = validate) -> list[Placed]:
    """Read all documents of one file.

    known: documents by their text, from an earlier reading of this file with the same `check`.
    """
    known = known or {}
    placed = []
    for line, part in _cut(text):
        document = known.get(part)
        placed.append(Placed(line, part, document if document is not None else read_document(part, check)))
    return placed


def _cut(text: str) -> Iterator[tuple[int, str]]:
    # YAML 1.2, 9.1.2: "---" at the start of a line is a document marker wherever it stands, also inside a scalar.
    line, start = 1, 0
    for mark in _CUT.finditer(text):
        part = text[start : mark.start()]
        if _PREAMBLE.fullmatch(part):
            continue  # directives ("%YAML 1.2") belong to the document whose marker follows them
        yield line, part
        line += part.count("\n")
        start = mark.start()
    if text[start:].strip():
        yield line, text[start:]


def read_document(text: str, check: Check = validate) -> Document:
    """Read one document. Never raises on bad input: what is wrong is in the result."""
    if _may_be_deep(text) and _is_deep(text):
        return _unreadable(0, f"nested deeper than {NESTING_MAX}", "no object of Kubernetes is nested so deep")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column + 1) if mark else (0, 1)
        reason = f"not YAML at column {column}: {' '.join(filter(None, (error.context, error.problem)))}"
        return _unreadable(line, reason, "check indentation, quotes and brackets here and just above")
    except yaml.YAMLError as error:  # characters that no YAML may contain
        return _unreadable(0, f"not YAML: {' '.join(str(error).split())}", "save the file as UTF-8 text")
    finally:
        loader.dispose()
    if node is None:
        return Document(())
    values = Values()
    try:
        content = values.of(node)
    except BadNode as bad:
        return _unreadable(bad.line, bad.reason, bad.advice, key=_key_of(node))
    if content is None:
        return Document(())
    return Document(tuple(_objects(content, node, check)))


def _may_be_deep(text: str) -> bool:
    # Each level costs a bracket, or a dash on the same line; indented ones cost more spaces than a file has.
    return text.count("[") + text.count("{") > NESTING_MAX or _DASHES.search(text) is not None


def _is_deep(text: str) -> bool:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > NESTING_MAX:
                    return True
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.YAMLError:
        return False  # reading it stops there, too
    return False


def _unreadable(line: int, reason: str, advice: str, key: Key | None = None) -> Document:
    return Document((Found(line, key, None, (Located(Fault("", reason, advice), line),)),))


# --- plain values to objects -------------------------------------------------------------------------------------


def _objects(content: Any, node: yaml.Node, check: Check) -> Iterator[Found]:
    if not isinstance(content, dict):
        fault = Fault(
            "", "is not a Kubernetes object but a bare value", "begin the document with apiVersion: and kind:"
        )
        yield Found(node.start_mark.line, None, None, (Located(fault, node.start_mark.line),))
        return
    kind, items = content.get("kind"), content.get("items")
    if isinstance(kind, str) and kind.endswith("List") and (isinstance(items, list) or items is None):
        item_nodes = child(node, "items")
        for index, item in enumerate(items or ()):
            item_node = item_nodes.value[index] if item_nodes is not None else node
            yield from _objects(_inheriting(item, content), item_node, check)
        return
    yield from _object(content, node, check)


def _inheriting(item: Any, parent: Mapping[str, Any]) -> Any:
    """An item of a list. Those of an IngressList need not repeat what they are."""
    if not isinstance(item, dict) or parent["kind"] == "List":
        return item
    inherited = {"kind": parent["kind"].removesuffix("List"), "apiVersion": parent.get("apiVersion")}
    return {**inherited, **item}


def _object(content: dict[str, Any], node: yaml.Node, check: Check) -> Iterator[Found]:
    line = node.start_mark.line
    if foreign(content):
        return
    kind = content.get("kind")
    title = kind if isinstance(kind, str) else ""
    key = _key(content)
    fault = kind_fault(content)
    if fault is not None:
        yield Found(line, key, None, (Located(fault, line_of(node, fault.field)),), title)
        return
    try:
        found = decode(content)
    except BadObject as bad:
        fault = Fault(bad.field, bad.reason, bad.advice)
        yield Found(line, key, None, (Located(fault, line_of(node, fault.field)),), title)
        return
    faults = (*misspelt(type(found), content), *check(found))
    if faults:
        wrong = tuple(Located(each, line_of(node, each.field)) for each in faults)
        yield Found(line, found.key, None, wrong, title)
        return
    if isinstance(found, Secret):
        found = folded(found)
    yield Found(line, found.key, found)


def _key(content: Mapping[str, Any]) -> Key | None:
    """The key an object claims, as far as it can be read although something else is wrong."""
    kind, metadata = content.get("kind"), content.get("metadata")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None or not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace", "default")
    if not isinstance(name, str) or not isinstance(namespace, str):
        return None
    return Key(cls.KIND, (namespace or "default") if cls.NAMESPACED else "", name)


def _key_of(node: yaml.Node) -> Key | None:
    """The same from nodes, when no values could be made of them."""
    metadata = child(node, "metadata")
    texts: dict[str, Any] = {}
    if metadata is not None:
        for name in ("name", "namespace"):
            value = child(metadata, name)
            if isinstance(value, yaml.ScalarNode):
                texts[name] = value.value
    kind = child(node, "kind")
    return _key({"kind": kind.value if isinstance(kind, yaml.ScalarNode) else None, "metadata": texts})


def folded(secret: Secret) -> Secret:
    """Return the Secret with `stringData` moved into `data`, where it wins, as the API server stores it."""
    if not secret.string_data:
        return secret
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in secret.string_data.items()}
    return msgspec.structs.replace(secret, data={**(secret.data or {}), **encoded}, string_data=None)
