"""Cross-origin requests."""

import re

from ingress.filters.api import Fields
from ingress.filters.cors import CorsSpecification
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "enable-cors": Risk.LOW,
    "cors-allow-origin": Risk.MEDIUM,
    "cors-allow-methods": Risk.MEDIUM,
    "cors-allow-headers": Risk.MEDIUM,
    "cors-allow-credentials": Risk.LOW,
    "cors-expose-headers": Risk.MEDIUM,
    "cors-max-age": Risk.LOW,
}
CONFIG: frozenset[str] = frozenset()

DIFFERS = {"cors-allow-origin": "an origin must match as a whole, and answers that depend on it say Vary: Origin"}

EVERYBODY = ("*",)
METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
HEADERS = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
MAX_AGE_SECONDS = 1728000

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\*\.)?[a-z0-9.-]+(?::[0-9]+)?|null", re.IGNORECASE)
_METHODS = re.compile(r"[A-Za-z][A-Za-z,\s]*")
_HEADERS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_,\s-]*")
_EXPOSED = re.compile(r"[A-Za-z0-9_*-][A-Za-z0-9_*,\s-]*")


def read(reader: Reader, wishes: Wishes) -> None:
    if not reader.flag("enable-cors"):
        return
    origins = _origins(reader)
    fields = _fields(reader)
    if origins == EVERYBODY:
        for name, value in (("Access-Control-Allow-Origin", "*"), *fields):
            wishes.tell_client(name, value)
        fields = ()
    if origins:
        wishes.filters["cors"] = CorsSpecification(origins, fields)


def _origins(reader: Reader) -> tuple[str, ...]:
    entries = reader.words("cors-allow-origin")
    if not entries or "*" in entries:
        return EVERYBODY
    found = []
    for each in entries:
        if _ORIGIN.fullmatch(each):
            found.append(each)
        else:
            reader.wrong("cors-allow-origin", f'"{each}" is not an origin, so it is left out', "write scheme://host")
    return tuple(found)


def _fields(reader: Reader) -> Fields:
    fields = [
        ("Access-Control-Allow-Methods", _matching(reader, "cors-allow-methods", _METHODS, METHODS)),
        ("Access-Control-Allow-Headers", _matching(reader, "cors-allow-headers", _HEADERS, HEADERS)),
        (
            "Access-Control-Max-Age",
            str(reader.number("cors-max-age", MAX_AGE_SECONDS, least=-1)),
        ),
    ]
    if reader.flag("cors-allow-credentials", True):
        fields.append(("Access-Control-Allow-Credentials", "true"))
    exposed = _matching(reader, "cors-expose-headers", _EXPOSED, "")
    if exposed:
        fields.append(("Access-Control-Expose-Headers", exposed))
    return tuple(fields)


def _matching(reader: Reader, name: str, pattern: re.Pattern[str], default: str) -> str:
    text = reader.text(name)
    if not text or pattern.fullmatch(text):
        return text or default
    reader.wrong(name, f'"{text}" is not a list of names', f"the default counts: {default or 'none'}")
    return default
