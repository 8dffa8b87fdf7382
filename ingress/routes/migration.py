"""What becomes of ingress-nginx's annotations: honoured, different, refused, unknown. For `causeway check`. Pure."""

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from ingress.routes.annotations import GROUPS, KNOWN, refused
from ingress.routes.annotations.reader import PREFIXES
from ingress.routes.compile import RoutingTable
from lb.cluster.objects import Ingress
from lb.cluster.problems import Problem


class Fate(StrEnum):
    HONOURED = "honoured"
    DIFFERS = "differs"
    WRONG = "wrong value"
    """The value makes no sense; ingress-nginx would not have taken it either."""
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """One annotation of one Ingress."""

    annotation: str
    value: str
    fate: Fate
    note: str = ""
    """How it differs, or why it has no effect, and what to do."""


class IngressReport(msgspec.Struct, frozen=True):
    ingress: str
    """"shop/web"."""
    served: bool
    reason: str = ""
    """Why it is not."""
    findings: tuple[Finding, ...] = ()
    problems: tuple[str, ...] = ()
    """What is wrong with it beside its annotations."""


class Report(msgspec.Struct, frozen=True):
    ingresses: tuple[IngressReport, ...]
    problems: tuple[str, ...]
    """Of other objects."""
    totals: dict[str, int]
    """By fate, and "ingresses", "served", "problems"."""

    @property
    def good(self) -> bool:
        """Nothing has to be corrected or decided."""
        totals = self.totals
        return not (totals["problems"] or totals[Fate.REFUSED] or totals[Fate.UNKNOWN] or totals[Fate.WRONG])


def report_of(table: RoutingTable, more: Sequence[Problem] = ()) -> Report:
    """`more`: problems of the source. `table` has to be up to date."""
    by_object: dict[str, list[Problem]] = {}
    for problem in [*more, *table.problems]:
        by_object.setdefault(problem.object, []).append(problem)
    reports = []
    for ingress in sorted(table.store.all(Ingress), key=lambda each: (each.metadata.namespace, each.metadata.name)):
        name = f"{ingress.metadata.namespace}/{ingress.metadata.name}"
        reports.append(_of_one(table, ingress, by_object.pop(f"Ingress {name}", [])))
    others = tuple(str(problem) for found in by_object.values() for problem in found)
    fates = Counter(finding.fate for each in reports for finding in each.findings)
    totals = {str(fate): fates[fate] for fate in Fate}
    totals["ingresses"] = len(reports)
    totals["served"] = sum(each.served for each in reports)
    totals["problems"] = len(others) + sum(len(each.problems) for each in reports)
    return Report(tuple(reports), others, totals)


def _of_one(table: RoutingTable, ingress: Ingress, problems: Sequence[Problem]) -> IngressReport:
    name = (ingress.metadata.namespace, ingress.metadata.name)
    reason = table.refused.get(name, "")
    findings = tuple(
        _finding(key, value, [each for each in problems if f"[{key}]" in each.field])
        for key, value in sorted(ingress.annotations.items())
        if key.startswith(PREFIXES)
    )
    told = {f"[{finding.annotation}]" for finding in findings}
    rest = tuple(str(each) for each in problems if not any(part in each.field for part in told))
    return IngressReport("/".join(name), name in table.claims, reason, findings, rest)


def _finding(key: str, value: str, problems: Sequence[Problem]) -> Finding:
    name = key.partition("/")[2]
    note = "; ".join(f"{each.reason} ({each.advice})" if each.advice else each.reason for each in problems)
    if name not in KNOWN:
        return Finding(key, value, Fate.UNKNOWN, note)
    if name in refused.NAMES and note:
        return Finding(key, value, Fate.REFUSED, note)
    if note:
        return Finding(key, value, Fate.REFUSED if re.search(LACKS.get(name, "(?!)"), value) else Fate.WRONG, note)
    differs = DIFFERS.get(name, "") if re.search(DIFFERS_FOR.get(name, ""), value) else ""
    return Finding(key, value, Fate.DIFFERS if differs else Fate.HONOURED, differs)


DIFFERS: dict[str, str] = {name: note for group in GROUPS for name, note in getattr(group, "DIFFERS", {}).items()}
"""Annotation -> how its effect differs from ingress-nginx's; each group tells of its own."""
DIFFERS_FOR: dict[str, str] = {
    name: found for group in GROUPS for name, found in getattr(group, "DIFFERS_FOR", {}).items()
}
"""Annotation -> the pattern of values whose effect differs, where it does not differ for all."""
LACKS: dict[str, str] = {name: found for group in GROUPS for name, found in getattr(group, "LACKS", {}).items()}
"""Annotation -> the pattern of values that ingress-nginx takes and that are refused here."""
