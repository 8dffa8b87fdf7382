"""Hosts whose paths are patterns, as ingress-nginx has them: one Ingress with patterns makes patterns of all paths.

Source: ingress-nginx, docs/user-guide/ingress-path-matching.md.
"""

import re
from collections.abc import Iterable, Sequence

from ingress.filters.patterns import compile_pattern
from ingress.routes.model import Route
from ingress.routes.rules import Claims

ROOT = "/$"


def has_patterns(owner: Claims) -> bool:
    wishes = owner.treatment.wishes
    return wishes.pattern and not wishes.strict


def order_patterns(
    host: str, taken: Iterable[tuple[Route, Claims]], beside: Sequence[Route]
) -> tuple[tuple[str, int], ...]:
    """The patterns of a host in the order in which they are tried, the longest first, each with the place of its route.

    taken: the routes of the host that come from rules, and whose they are; beside: those that follow. A Prefix path
    beside an Exact one that is written alike is for what lies below.
    """
    found: list[tuple[str, int]] = []
    rules = list(taken)
    exact = {route.path for route, _ in rules if route.exact}
    for number, (route, owner) in enumerate(rules):
        text = next(claim.text for claim in owner.hosts[host] if claim.field == route.field)
        if not has_patterns(owner):
            text = _plain(text)
            if not route.exact and route.path in exact and not text.endswith("/"):
                text += "/"
        found.append((text, number))
    found.sort(key=lambda each: (len(each[0]), each[0]), reverse=True)
    for number, route in enumerate(beside, len(rules)):
        if route.exact and route.path == "/":
            found.insert(0, (ROOT, number))
        elif not route.exact:
            found.append((route.path, number))
    return tuple(found)


def _plain(text: str) -> str:
    """A path that was not meant to be a pattern; one that RE2 does not take is taken literally."""
    try:
        compile_pattern(text, any_case=True)
    except ValueError:
        return re.escape(text)
    return text
