"""YAML nodes -> plain values, and on which line a field is. Pure.

Where YAML and what `kubectl` makes of it differ, kubectl is followed: null is the same as absent, a key may be given
once only, dates stay text, and `8080:80` is text, not a number in base 60.
"""

import re
from typing import Any

import yaml

NODES_MAX = 1_000_000
"""Of one document with its aliases expanded; a few lines of nested aliases can ask for billions."""

NESTING_MAX = 100
"""Levels of one document. Scanner and decoder are recursive: deeper text could end the process."""

_PATH = re.compile(r"\[(\d+)\]|\[([^\]]*)\]|([^.\[\]]+)")
_FLOAT_WORDS = re.compile(r"\.(inf|nan)")
_TAG = "tag:yaml.org,2002:"


class BadNode(Exception):
    """A node that no plain value can be made of; `line` counts from 0."""

    def __init__(self, node: yaml.Node, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.line: int = node.start_mark.line
        self.reason, self.advice = reason, advice


_BOOLS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


class Values:
    """Plain values of the nodes of one document."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, int]] = {}  # by node: a node is met again through its aliases
        self._open: set[int] = set()
        self._count = 0

    def of(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            self._count += 1
            return _scalar(node)
        if id(node) in self._done:
            value, size = self._done[id(node)]
            self._count += size
            if self._count > NODES_MAX:
                raise BadNode(node, f"its aliases expand to more than {NODES_MAX} values", "write out what is needed")
            return value
        if id(node) in self._open:
            raise BadNode(node, "an alias contains itself", "remove the alias")
        if len(self._open) >= NESTING_MAX:
            raise BadNode(node, f"nested deeper than {NESTING_MAX}", "no object of Kubernetes is nested so deep")
        self._open.add(id(node))
        before = self._count
        self._count += 1
        value = [self.of(each) for each in node.value] if isinstance(node, yaml.SequenceNode) else self._mapping(node)
        self._open.discard(id(node))
        self._done[id(node)] = (value, self._count - before)
        return value

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        if not node.tag.endswith(":map"):
            raise BadNode(node, f"tag {node.tag} has no meaning here", "remove the tag")
        value: dict[str, Any] = {}
        seen = set()
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _TAG + "merge":
                for each in _merges(self.of(value_node), key_node):
                    merged = {**each, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise BadNode(key_node, "a key is not plain text", "quote the key")
            key = key_node.value
            if key in seen:
                raise BadNode(key_node, f"key {key!r} is given twice", "keep one of the two")
            seen.add(key)
            found = self.of(value_node)
            if found is not None:
                value[key] = found
        return {**merged, **value} if merged else value


def _merges(value: Any, node: yaml.Node) -> list[dict[str, Any]]:
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(each, dict) for each in several):
        raise BadNode(node, "<< wants a mapping or a list of mappings", "give it an alias of a mapping")
    return several


def _scalar(node: yaml.Node) -> Any:
    text: str = node.value
    tag = node.tag
    if tag == "tag:yaml.org,2002:str":
        return text
    kind = tag.removeprefix(_TAG)
    try:
        if kind == "null":
            return None
        if kind == "bool":
            return _BOOLS[text.lower()]
        if kind == "int":
            return text if ":" in text else _integer(text)
        if kind == "float":
            return text if ":" in text else float(_FLOAT_WORDS.sub(r"\1", text.lower().replace("_", "")))
    except (ValueError, KeyError):
        raise BadNode(node, f"{text!r} is not of type {kind}", "put it in quotes if it is text") from None
    if kind in ("timestamp", "binary", "value", "merge"):
        return text
    raise BadNode(node, f"tag {tag} has no meaning here", "remove the tag")


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if len(digits) > 1 and digits.startswith("0") else 10)


def child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == name), None)
    return None


def line_of(node: yaml.Node, path: str) -> int:
    """The line of a field such as `spec.ports[0].port`, or of the nearest thing around it that is there."""
    line: int = node.start_mark.line
    for index, quoted, name in _PATH.findall(path):
        if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line
            continue
        wanted = name or quoted or index
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value == wanted:
                node, line = value, key.start_mark.line
                break
        else:
            return line
    return line
