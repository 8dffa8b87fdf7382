"""What takes the place of a text, as nginx's proxy_cookie_domain, proxy_cookie_path and proxy_redirect say it."""

import re

from ingress.filters.api import Request
from ingress.filters.patterns import compile_pattern
from ingress.filters.variables import Template, for_field

_CAPTURE = re.compile(r"\$(?:\{([0-9A-Za-z_]+)\}|([1-9]|[A-Za-z_][0-9A-Za-z_]*))")

Part = Template | str
"""Text with variables, or the name of a group."""


class Replacement:
    """Made once, asked for each text.

    found: what a text must begin with, or with `domain` be, with variables; after a "~" a pattern that it must hold, in
    any letter case after a "~*" and with `domain`. becomes: with variables, and what the pattern has captured, $1 to $9
    and by name. It takes the place of what was found, and where that is a pattern, of the whole text.
    """

    def __init__(self, found: str, becomes: str, *, domain: bool = False) -> None:
        """Raises ValueError for an unknown variable, and for what is no pattern of RE2."""
        self._domain = domain
        self._pattern = None
        if found.startswith("~"):
            text = found[1:] if domain else found[1:].removeprefix("*")
            self._pattern = compile_pattern(text, any_case=domain or found.startswith("~*"))
            self._parts = _parts(becomes, frozenset(self._pattern.groupindex))
        else:
            self._found, self._becomes = Template.parse(found), Template.parse(becomes)

    def of(self, request: Request, text: str) -> str | None:
        """The new text; None if it stays as it is."""
        if self._pattern is not None:
            match = self._pattern.search(text)
            if match is None:
                return None
            groups = {str(number): value for number, value in enumerate(match.groups(), 1)} | match.groupdict()
            return "".join(
                for_field(groups.get(each) or "") if isinstance(each, str) else each.render(request, for_field)
                for each in self._parts
            )
        found, becomes = (each.render(request, for_field) for each in (self._found, self._becomes))
        if self._domain:
            return becomes if _bare(text) == _bare(found) else None
        return becomes + text[len(found) :] if text.startswith(found) else None


def _bare(domain: str) -> str:
    return domain.lower().removeprefix(".")


def _parts(text: str, groups: frozenset[str]) -> tuple[Part, ...]:
    """Groups come before variables of the same name."""
    parts: list[Part] = []
    at = 0
    for found in _CAPTURE.finditer(text):
        name = found[1] or found[2]
        if name in groups or name.isdigit():
            parts += [Template.parse(text[at : found.start()]), name]
            at = found.end()
    return (*parts, Template.parse(text[at:]))
