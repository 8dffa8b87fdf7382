"""Label selectors as kubectl writes them: "team=shop,tier!=test,env in (a, b),!legacy"."""

import re
from collections.abc import Mapping
from typing import NamedTuple

_NAME = r"(?:[-A-Za-z0-9_.]+/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_PART = re.compile(
    rf"\s*(?:(?P<absent>!)?\s*(?P<alone>{_NAME})"
    rf"|(?P<name>{_NAME})\s*(?:(?P<equal>==?|!=)\s*(?P<value>[-A-Za-z0-9_.]*)"
    rf"|(?P<set>in|notin)\s*\((?P<values>[-A-Za-z0-9_.,\s]*)\)))\s*(?:,|$)"
)


class Requirement(NamedTuple):
    name: str
    wanted: bool
    values: frozenset[str] | None
    """None: any value."""

    def fits(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.name)
        there = value is not None and (self.values is None or value in self.values)
        return there == self.wanted


def read_selector(text: str) -> tuple[Requirement, ...]:
    """Raises ValueError."""
    found: list[Requirement] = []
    at = 0
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            raise ValueError(f'"{text}" is not a label selector such as team=shop or env in (a,b)')
        at = part.end()
        if part["alone"]:
            found.append(Requirement(part["alone"], not part["absent"], None))
        elif part["equal"]:
            found.append(Requirement(part["name"], part["equal"] != "!=", frozenset({part["value"]})))
        else:
            values = frozenset(each.strip() for each in part["values"].split(","))
            found.append(Requirement(part["name"], part["set"] == "in", values))
    return tuple(found)


def fits(requirements: tuple[Requirement, ...], labels: Mapping[str, str]) -> bool:
    return all(each.fits(labels) for each in requirements)
