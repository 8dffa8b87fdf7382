"""How values of a ConfigMap are written: functions that read a text, or make a reader. ValueError: what is wrong."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from ingress.filters.patterns import Listed
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import FALSE, TRUE
from ingress.routes.annotations.upstream import RESPONSE_HEAD_BYTES

_SIZE = re.compile(r"([0-9]{1,15})([kKmMgG]?)")
_UNIT = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w|M|y)?\s*")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000, "": 1}


def names(listed: str) -> tuple[str, ...]:
    """Separated by blanks."""
    return tuple(listed.split())


_RETRY = frozenset(
    names("""error timeout invalid_header http_500 http_502 http_503 http_504 http_403 http_404 http_429
    non_idempotent off""")
)


def flag(value: str) -> bool:
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ValueError(f'"{value}" is neither true nor false')


def number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch("[0-9]{1,18}", value) or not least <= int(value) <= most:
            raise ValueError(f'"{value}" is not a whole number from {least} to {most}')
        return int(value)

    return parse


def fraction(value: str) -> float:
    if not re.fullmatch(r"0?\.[0-9]{1,18}|[01](?:\.0*)?", value):
        raise ValueError(f'"{value}" is not a number from 0 to 1')
    return float(value)


def template(value: str) -> str:
    """Text with variables."""
    Template.parse(value)
    return value


def size(least: int = 0) -> Callable[[str], int]:
    """Bytes, as nginx writes them: 8m, 512k, 1024."""

    def parse(value: str) -> int:
        found = _SIZE.fullmatch(value)
        if found is None:
            raise ValueError(f'"{value}" is not a size such as 8m, 512k or 1024')
        read = int(found[1]) * _UNIT[found[2].lower()]
        if read < least:
            raise ValueError(f'"{value}" is less than {least} bytes')
        return read

    return parse


def head_size(value: str) -> int:
    """Of a response's head: there is always room for as much as can be asked for."""
    read = size()(value)
    if read > RESPONSE_HEAD_BYTES:
        raise ValueError(f"the head of a response has room for {RESPONSE_HEAD_BYTES >> 10} kB, always")
    return read


def seconds(*, least: float) -> Callable[[str], float]:
    """A time as nginx writes it: 60, 60s, 1h30m, 500ms."""

    def parse(value: str) -> float:
        parts = list(_TIME.finditer(value))
        if not parts or "".join(each[0] for each in parts) != value:
            raise ValueError(f'"{value}" is not a time such as 60, 60s or 1h30m')
        read = sum(int(each[1]) * _SECONDS[each[2] or ""] for each in parts)
        if not least <= read <= 31536000:
            raise ValueError(f'"{value}" is not between {least:g} s and a year')
        return read

    return parse


def choice(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in choices:
            raise ValueError(f'"{value}" is none of {", ".join(choices)}')
        return value

    return parse


def text(pattern: str = r"[^\x00-\x08\x0a-\x1f\x7f]*") -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{value[:80]!r} cannot be its value")
        return value

    return parse


def words(pattern: str = r"[^\x00-\x1f\x7f]+") -> Callable[[str], tuple[str, ...]]:
    """Separated by commas or blanks."""

    def parse(value: str) -> tuple[str, ...]:
        listed = tuple(re.split(r"[\s,]+", value.strip(", \t\r\n")))
        for each in listed:
            if not re.fullmatch(pattern, each):
                raise ValueError(f"{each[:80]!r} cannot be one of its values")
        return listed

    return parse


def patterns(value: str) -> tuple[str, ...]:
    """Texts, and patterns after a "~", separated by commas."""
    listed = tuple(each.strip() for each in value.split(",") if each.strip())
    Listed(listed)
    return listed


def bare_patterns(value: str) -> tuple[str, ...]:
    """Patterns separated by commas."""
    return tuple(each.removeprefix("~") for each in patterns(",".join(f"~{each}" for each in value.split(","))))


def tokens(value: str) -> tuple[str, ...]:
    """What proxy-next-upstream lists."""
    listed = words()(value)
    unknown = [each for each in listed if each not in _RETRY]
    if unknown:
        raise ValueError(f'"{unknown[0]}" is none of {", ".join(sorted(_RETRY))}')
    return ("off",) if "off" in listed else listed


def codes(value: str) -> tuple[int, ...]:
    """Statuses, separated by commas."""
    return tuple(number(300, 599)(each) for each in words()(value))


def networks(value: str) -> tuple[str, ...]:
    """Addresses and ranges, normalised."""
    return tuple(str(ipaddress.ip_network(each, strict=False)) for each in words()(value))


def protocols(value: str) -> tuple[str, ...]:
    listed = tuple(each for each in words()(value) if each in ("TLSv1.2", "TLSv1.3"))
    if not listed:
        raise ValueError(f'"{value}" has neither TLSv1.2 nor TLSv1.3, and others are broken')
    return listed


def reference(value: str) -> tuple[str, str]:
    """ "namespace/name"."""
    namespace, slash, name = value.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise ValueError(f'"{value}" is not NAMESPACE/NAME')
    return namespace, name


def log_format(value: str) -> Any:
    """nginx's variables are looked at by the engine, which knows them."""
    return value.replace("\n", "").replace("\r", "")
