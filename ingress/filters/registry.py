"""Lines of a route table -> the filters of one worker. A filter is imported when a route first needs it."""

from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from ingress.filters import EXTENSION, FILTERS
from ingress.filters.api import Filter, Tools
from ingress.filters.chain import Chain

FilterLine = tuple[str, bytes]
"""Name and specification, in msgpack."""


class Registry:
    """Makes one filter for each name and specification, for all routes that have them.

    A filter lives as long as a route uses it: when a table is replaced by one that has it too, what it has counted
    goes on.
    """

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self._filters: WeakValueDictionary[FilterLine, Filter[Any]] = WeakValueDictionary()
        self._chains: WeakValueDictionary[tuple[FilterLine, ...], Chain] = WeakValueDictionary()

    def chain(self, lines: tuple[FilterLine, ...]) -> Chain:
        """The filters of a route, in this order. Raises ValueError for a filter that cannot be made."""
        chain = self._chains.get(lines)
        if chain is None:
            chain = self._chains[lines] = Chain([self._filter(line) for line in lines])
        return chain

    def _filter(self, line: FilterLine) -> Filter[Any]:
        found = self._filters.get(line)
        if found is None:
            found = self._filters[line] = self._made(*line)
        return found

    def _made(self, name: str, specification: bytes) -> Filter[Any]:
        try:
            kind = _class_of(name)
            return kind(msgspec.msgpack.decode(specification, type=kind.Specification), self.tools)
        except Exception as error:
            # Of whatever type: the route's host keeps what it had, and the worker goes on.
            raise ValueError(f"filter {name} cannot be made: {error!r}") from error


def _class_of(name: str) -> type[Filter[Any]]:
    if name.startswith(EXTENSION):
        from ingress.filters.extensions import load  # looks through what is installed: only who uses it pays

        return load(name.removeprefix(EXTENSION))
    module, _, title = FILTERS.get(name, "").partition(":")
    found: type[Filter[Any]] = getattr(import_module(module), title)
    return found
