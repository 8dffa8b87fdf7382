"""rewrite-target, use-regex, x-forwarded-prefix: paths that are patterns, and other paths for endpoints."""

import re

from ingress.filters.rewrite import RewriteSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "rewrite-target": Risk.MEDIUM,
    "use-regex": Risk.LOW,
    "x-forwarded-prefix": Risk.MEDIUM,
    "enable-rewrite-log": Risk.LOW,  # of nginx's debugging log: there is nothing to switch on
}
CONFIG = frozenset({"strict-validate-path-type"})

_TARGET = re.compile(r"[-._~a-zA-Z0-9/:$?=&%+,@!*(){}\[\]]+")
_PREFIX = re.compile(r"[-._~a-zA-Z0-9/:]+")


def read(reader: Reader, wishes: Wishes) -> None:
    wishes.literal_paths = reader.compat and reader.flag("", True, config="strict-validate-path-type")
    target = _target(reader)
    if target:
        prefix = reader.text("x-forwarded-prefix")
        if prefix and not _PREFIX.fullmatch(prefix):
            reader.wrong("x-forwarded-prefix", f'"{prefix}" is not a path', "write a path such as /shop")
            prefix = ""
        wishes.filters["rewrite"] = RewriteSpecification(target, prefix)
    elif reader.has("x-forwarded-prefix"):
        reason = "there is no rewrite-target, so it has no effect"
        reader.wrong("x-forwarded-prefix", reason, "add rewrite-target", minor=True)
    wishes.pattern = reader.flag("use-regex") or (bool(target) and _rewrites(reader, target))


def _target(reader: Reader) -> str:
    target = reader.text("rewrite-target")
    if not target:
        return ""
    if not _TARGET.fullmatch(target):
        reader.wrong("rewrite-target", f'"{target}" is not a path', "write a path with $1 to $9, such as /$2")
        return ""
    try:
        Template.parse(target)
    except ValueError as error:
        reader.wrong("rewrite-target", str(error), "write $1 to $9 for what the path has captured")
        return ""
    return target


def _rewrites(reader: Reader, target: str) -> bool:
    """A rule whose path is the target is left as it is, so it does not make a pattern of its host's paths."""
    rules = reader.ingress.spec.rules
    return any(path.path != target for rule in rules if rule.http for path in rule.http.paths)
