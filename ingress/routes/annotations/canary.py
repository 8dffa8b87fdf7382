"""canary-*: an Ingress is the alternative of another one with the same host and path."""

import re

from ingress.filters.patterns import compile_pattern
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import CanaryWish, Risk, Wishes

NAMES = {
    "canary": Risk.LOW,
    "canary-weight": Risk.LOW,
    "canary-weight-total": Risk.LOW,
    "canary-by-header": Risk.MEDIUM,
    "canary-by-header-value": Risk.MEDIUM,
    "canary-by-header-pattern": Risk.MEDIUM,
    "canary-by-cookie": Risk.MEDIUM,
}
CONFIG: frozenset[str] = frozenset()

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read(reader: Reader, wishes: Wishes) -> None:
    if not reader.flag("canary"):
        for name in NAMES:
            if reader.has(name) and name != "canary":
                reader.wrong(name, "it has no effect on an Ingress that is no canary", 'add canary: "true"')
        return
    pattern = reader.text("canary-by-header-pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except ValueError as error:
            reader.wrong("canary-by-header-pattern", str(error), "requests with the header go to the main Ingress")
    wishes.canary = CanaryWish(
        header=_token(reader, "canary-by-header"),
        header_value=reader.text("canary-by-header-value"),
        header_pattern=pattern,
        cookie=_token(reader, "canary-by-cookie"),
        weight=reader.number("canary-weight", 0),
        # ingress-nginx takes totals up to 100 as 100.
        weight_total=max(100, reader.number("canary-weight-total", 100)),
        legacy=reader.text("affinity-canary-behavior").lower() == "legacy",
    )


def _token(reader: Reader, name: str) -> str:
    """The name of a field or cookie."""
    text = reader.text(name)
    if text and not _TOKEN.fullmatch(text):
        reader.wrong(name, f'"{text}" is not a name', "write one word, such as X-Canary")
        return ""
    return text
