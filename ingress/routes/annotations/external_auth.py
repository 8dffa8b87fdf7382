"""External authentication: auth-url and what belongs to it, global-auth-* of the ConfigMap; satisfy.

What is wrong closes the Ingress, but for what only says where clients are sent.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from msgspec.structs import replace

from ingress.filters.api import Fields
from ingress.filters.external import ExternalSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.access import OPEN_PATHS, access_of, close, closed_by, open_paths
from ingress.routes.annotations.reader import FALSE, TRUE, Reader
from ingress.routes.annotations.wishes import Risk, Wishes

OWN, GLOBAL = "auth-", "global-auth-"
URL, SET_FIELDS, ASK_GLOBAL = "auth-url", "auth-proxy-set-headers", "enable-global-auth"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CACHE_DEFAULT = "200 202 401 5m"

NAMES = {
    URL: Risk.HIGH,
    "auth-signin": Risk.HIGH,
    "auth-signin-redirect-param": Risk.MEDIUM,
    "auth-method": Risk.LOW,
    "auth-response-headers": Risk.MEDIUM,
    "auth-request-redirect": Risk.MEDIUM,
    "auth-cache-key": Risk.MEDIUM,
    "auth-cache-duration": Risk.MEDIUM,
    "auth-always-set-cookie": Risk.LOW,
    SET_FIELDS: Risk.MEDIUM,
    # Connections to the service are kept and shared anyway: accepted, without effect.
    "auth-keepalive": Risk.LOW,
    "auth-keepalive-requests": Risk.LOW,
    "auth-keepalive-share-vars": Risk.LOW,
    "auth-keepalive-timeout": Risk.LOW,
    ASK_GLOBAL: Risk.LOW,
    "satisfy": Risk.LOW,
}
DIFFERS = {
    URL: "what clients say in X-Forwarded-*, Range and If-* is not for the service",
    **dict.fromkeys(
        ("auth-keepalive", "auth-keepalive-requests", "auth-keepalive-share-vars", "auth-keepalive-timeout"),
        "connections to the service are always kept and shared",
    ),
}
CONFIG = frozenset(
    {
        OPEN_PATHS,
        "global-auth-url",
        "global-auth-method",
        "global-auth-signin",
        "global-auth-signin-redirect-param",
        "global-auth-response-headers",
        "global-auth-request-redirect",
        "global-auth-cache-key",
        "global-auth-cache-duration",
        "global-auth-always-set-cookie",
        "global-auth-snippet",
    }
)

_FIELD_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TIME = re.compile(r"(?:[0-9]{1,6}(?:ms|[smhdwMy])?)+")
_TIME_PART = re.compile(r"([0-9]+)(ms|[smhdwMy])?")
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
"""Of nginx's times."""


class Source(NamedTuple):
    """Where the texts come from: annotations, or the ConfigMap."""

    text: Callable[[str], str]
    """By the name without its prefix."""
    close: Callable[[str, str], None]
    """Say what is wrong with one of them, and let nobody in."""
    warn: Callable[[str, str], None]


def read(reader: Reader, wishes: Wishes) -> None:
    if reader.choice("satisfy", ("all", "any"), "all") == "any":
        wishes.filters["access"] = replace(access_of(wishes), any=True)
    fields: Fields | None = ()
    if reader.has(URL):
        source = Source(
            lambda name: reader.text(OWN + name),
            lambda name, reason: closed_by(reader, wishes, OWN + name, reason),
            lambda name, reason: reader.wrong(OWN + name, reason),
        )
        fields = _fields(reader, wishes)
    elif reader.config.get("global-auth-url", "").strip() and reader.flag(ASK_GLOBAL, True):
        source = Source(
            lambda name: reader.config.get(GLOBAL + name, "").strip(),
            lambda name, reason: close(wishes, f"{GLOBAL}{name} of the ConfigMap: {reason}"),
            lambda name, reason: None,  # reported once for all Ingresses
        )
    else:
        return
    found = _specification(source)
    if found is not None and fields is not None:
        external = replace(found, fields=fields)
        wishes.filters["access"] = replace(access_of(wishes), external=external, open_paths=open_paths(reader))


def _specification(source: Source) -> ExternalSpecification | None:
    """None: it is closed."""
    url, method = source.text("url"), source.text("method").upper() or "GET"
    names = tuple(each.strip() for each in source.text("response-headers").split(",") if each.strip())
    durations, always = source.text("cache-duration") or CACHE_DEFAULT, source.text("always-set-cookie")
    checks: dict[str, Callable[[], object]] = {
        "url": lambda: _check_url(url),
        "method": lambda: _check(method in METHODS, f"{method} is none of {', '.join(METHODS)}"),
        "response-headers": lambda: _check_names(names),
        "request-redirect": lambda: Template.parse(source.text("request-redirect")),
        "cache-key": lambda: Template.parse(source.text("cache-key")),
        "cache-duration": lambda: cache_seconds(durations),
        "always-set-cookie": lambda: _check(always in ("", *TRUE, *FALSE), f'"{always}" is neither true nor false'),
    }
    for part, check in checks.items():
        try:
            check()
        except ValueError as error:
            source.close(part, str(error))
            return None
    return ExternalSpecification(
        url,
        method=method,
        signin=_signin(source),
        signin_parameter=source.text("signin-redirect-param") or "rd",
        response_fields=names,
        request_redirect=source.text("request-redirect"),
        cache_key=source.text("cache-key"),
        cache_seconds=cache_seconds(durations),
        always_set_cookie=always in TRUE,
    )


def _check(good: bool, reason: str) -> None:
    if not good:
        raise ValueError(reason)


def _check_names(names: tuple[str, ...]) -> None:
    for each in names:
        _check(_FIELD_NAME.fullmatch(each) is not None, f'"{each}" is not the name of a field')


def _check_url(text: str) -> None:
    """Raises ValueError unless it is the address of a service; its host may be a variable. Never says the address."""
    found = urlsplit(text)
    _check(found.scheme in ("http", "https"), "it does not begin with http:// or https://")
    host = found.hostname or ""
    _check(bool(host) and ".." not in host and not host.startswith("."), "it has no valid host")
    _check(found.username is None, f"it has a user name: set Authorization by {SET_FIELDS}")
    _check(not re.search(r"[^!-~]|\\", text), "it has blanks, or what is not ASCII")
    if "$" not in found.netloc:
        _ = found.port  # raises ValueError
    Template.parse(text)


def _signin(source: Source) -> str:
    text = source.text("signin")
    try:
        _check(not text or text.startswith(("http://", "https://", "/", "$")), f'"{text}" is neither a URL nor a path')
        _check(not re.search(r"[^!-~]|\\", text), f'"{text}" has blanks, or what is not ASCII')
        Template.parse(text)
    except ValueError as error:
        source.warn("signin", str(error))
        return ""
    return text


def _fields(reader: Reader, wishes: Wishes) -> Fields | None:
    """Those of a ConfigMap, for the request to the service. None: it is closed."""
    name = reader.text(SET_FIELDS)
    if not name:
        return ()
    found = reader.config_map(SET_FIELDS, name)
    if found is None:  # reported
        close(wishes, f"{SET_FIELDS}: {name} cannot be read")
        return None
    fields = tuple(sorted((found.data or {}).items()))
    try:
        _check_names(tuple(key for key, _ in fields))
        for key, value in fields:
            _check(not re.search(r"[\r\n\0]", value.strip()), f"{key} has more than one line")
            Template.parse(value.strip())
    except ValueError as error:
        closed_by(reader, wishes, SET_FIELDS, f"ConfigMap {name}: {error}")
        return None
    return tuple((key, value.strip()) for key, value in fields)


def cache_seconds(text: str) -> dict[int, int]:
    """ "200 202 10m, 401 1m" -> seconds by status, 0 for any. No code: 200, 301, 302. Raises ValueError."""
    found: dict[int, int] = {}
    for each in text.split(","):
        *codes, time = each.split() or [""]
        _check(_TIME.fullmatch(time) is not None, f'"{each.strip()}" does not end with a time such as 10m')
        seconds = int(sum(int(part[1]) * _SECONDS[part[2] or ""] for part in _TIME_PART.finditer(time)))
        for code in codes or ("200", "301", "302"):
            wrong = f'"{code}" is no status'
            _check(code == "any" or (code.isascii() and code.isdigit() and 100 <= int(code) <= 599), wrong)
            found.setdefault(0 if code == "any" else int(code), seconds)
    return found
