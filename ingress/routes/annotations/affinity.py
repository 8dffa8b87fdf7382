"""affinity and session-cookie-*: clients that stay with one endpoint."""

import re

from ingress.filters.affinity import AffinitySpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "affinity": Risk.LOW,
    "affinity-mode": Risk.MEDIUM,
    "affinity-canary-behavior": Risk.LOW,  # read with the canary
    "session-cookie-name": Risk.MEDIUM,
    "session-cookie-path": Risk.MEDIUM,
    "session-cookie-domain": Risk.MEDIUM,
    "session-cookie-expires": Risk.MEDIUM,
    "session-cookie-max-age": Risk.MEDIUM,
    "session-cookie-samesite": Risk.LOW,
    "session-cookie-secure": Risk.LOW,
    "session-cookie-conditional-samesite-none": Risk.LOW,
    "session-cookie-change-on-failure": Risk.LOW,
}
CONFIG: frozenset[str] = frozenset()

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PATH = re.compile(r"/[!-:<-~]*")
_DOMAIN = re.compile(r"\.?[0-9A-Za-z](?:[0-9A-Za-z.-]*[0-9A-Za-z])?")
_SECONDS = re.compile(r"-?[0-9]{1,10}")
_SAME_SITE = re.compile(r"(?i:none|lax|strict)")


def read(reader: Reader, wishes: Wishes) -> None:
    """After the upstream options: sessions decide about endpoints before hashes and load do."""
    reader.choice("affinity-canary-behavior", ("sticky", "legacy"), "sticky")
    kind = reader.text("affinity")
    if not kind:
        return
    if kind.lower() != "cookie":
        reader.wrong("affinity", f'"{kind}" is not served', "the only kind is cookie")
        return
    persistent = reader.choice("affinity-mode", ("balanced", "persistent"), "balanced") == "persistent"
    specification = AffinitySpecification(
        cookie=_text(reader, "session-cookie-name", _NAME, "a cookie's name") or "INGRESSCOOKIE",
        persistent=persistent,
        change_on_failure=reader.flag("session-cookie-change-on-failure"),
        path=_text(reader, "session-cookie-path", _PATH, "a path"),
        domain=_text(reader, "session-cookie-domain", _DOMAIN, "a domain"),
        expires_seconds=_seconds(reader, "session-cookie-expires"),
        max_age_seconds=_seconds(reader, "session-cookie-max-age"),
        same_site=_text(reader, "session-cookie-samesite", _SAME_SITE, "None, Lax or Strict"),
        conditional_none=reader.flag("session-cookie-conditional-samesite-none"),
        secure=reader.flag("session-cookie-secure"),
    )
    if reader.flag("use-regex") and not specification.path:
        reader.wrong(
            "affinity",
            "the paths are patterns, and no browser sends a cookie back whose Path is a pattern",
            "write session-cookie-path",
        )
    wishes.filters["affinity"] = specification
    wishes.filters.pop("hash", None)
    wishes.backend.pop("hash_by", None)
    if persistent:
        wishes.backend.pop("algorithm", None)
    else:
        # Who has more than its share of requests is still where the sessions are.
        wishes.backend |= {"algorithm": "ring", "hash_by": "filter", "load_bound": 0.0}
    if not specification.change_on_failure:
        wishes.backend["eject_after_failures"] = 0


def _text(reader: Reader, name: str, pattern: re.Pattern[str], what: str) -> str:
    text = reader.text(name)
    if text and not pattern.fullmatch(text):
        reader.wrong(name, f'"{text}" is not {what}', "the default counts")
        return ""
    return text


def _seconds(reader: Reader, name: str) -> int | None:
    """None as well if it is wrong: zero would have browsers forget the cookie at once."""
    text = _text(reader, name, _SECONDS, "a whole number of seconds")
    return int(text) if text else None
