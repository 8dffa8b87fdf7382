"""Paths that are patterns: which of a host's is the first to match, in RE2, so that none can hold up a worker.

Octets are compared, as nginx does it, and letter case does not matter. Imported only by workers that have such a host.
"""

from collections.abc import Iterable
from typing import Any

import re2

FEW = 1
"""So many are simply tried; more are looked for all at once."""


def _options(octets: int) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = octets
    return options


_ONE = _options(1 << 20)
_ALL = _options(1 << 26)
_ALL.never_capture = True


class Patterns:
    """The paths of one host, in the order in which they are tried. Each matches from the path's beginning on."""

    def __init__(self, paths: Iterable[tuple[str, int]]) -> None:
        """paths: each with the place of its route.

        Raises ValueError for what is no pattern, and for what RE2 leaves out: look-around, back references.
        """
        octets = []
        self._paths: list[tuple[Any, int]] = []
        for text, place in paths:
            octets.append(text.encode("utf-8", "surrogateescape"))
            self._paths.append((_compiled(octets[-1]), place))
        self._set: Any = None
        self._any: Any = None
        if len(octets) > FEW:
            self._set = re2.Set.MatchSet(_ALL)
            for each in octets:
                self._set.Add(each)
            self._set.Compile()
            self._any = re2.compile(b"|".join(b"(?:%s)" % each for each in octets), _ALL)

    def find(self, path: bytes) -> tuple[int, tuple[str | None, ...]] | None:
        """Of the first that matches a normalised path: its route's place, what it has matched, and its groups."""
        for number in self._candidates(path):
            pattern, place = self._paths[number]
            found = pattern.match(path)
            if found is not None:
                return place, tuple(_text(each) for each in (found[0], *found.groups()))
        return None

    def _candidates(self, path: bytes) -> Iterable[int]:
        if self._set is None:
            return range(len(self._paths))
        found: list[int] = self._set.Match(path)
        if found:
            return (min(found),)
        # A set gives up, and says nothing of it, when its states take too much memory; a single pattern never does.
        return range(len(self._paths)) if self._any.match(path) is not None else ()


def _text(octets: bytes | None) -> str | None:
    return None if octets is None else octets.decode("utf-8", "surrogateescape")


def _compiled(text: bytes) -> Any:
    try:
        return re2.compile(text, _ONE)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise ValueError(f'"{text.decode(errors="replace")}" is not a pattern of RE2: {reason}') from None
