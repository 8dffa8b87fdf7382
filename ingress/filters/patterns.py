"""Patterns that come from outside: RE2, whose time is linear in the text, so that none can hold up a worker."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 1 << 20  # some 100 kB of pattern; a pattern's states take no more than this
_ANY_CASE = re2.Options()
_ANY_CASE.log_errors = False
_ANY_CASE.max_mem = 1 << 20
_ANY_CASE.case_sensitive = False


class Pattern(Protocol):
    """As re.Pattern."""

    @property
    def groupindex(self) -> Mapping[str, int]: ...
    def search(self, text: str) -> Any: ...
    def match(self, text: str) -> Any: ...
    def fullmatch(self, text: str) -> Any: ...


def compile_pattern(text: str, *, any_case: bool = False) -> Pattern:
    """Raises ValueError for what is no pattern, and for what RE2 leaves out of Perl's: look-around, back references."""
    try:
        pattern: Pattern = re2.compile(text, _ANY_CASE if any_case else _OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise ValueError(f'"{text}" is not a pattern of RE2: {reason}') from None
    return pattern


class Listed:
    """Texts and patterns as in nginx's `map`: "text" in any letter case, "~pattern", "~*pattern" in any letter case."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError for an entry that is no pattern."""
        self._texts: set[str] = set()
        self._patterns: list[Pattern] = []
        for each in entries:
            if each.startswith("~*"):
                self._patterns.append(compile_pattern(each[2:], any_case=True))
            elif each.startswith("~"):
                self._patterns.append(compile_pattern(each[1:]))
            else:
                self._texts.add(each.lower())

    def __contains__(self, text: str) -> bool:
        return text.lower() in self._texts or any(each.search(text) for each in self._patterns)
