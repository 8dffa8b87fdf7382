"""Flags of `causeway serve` that say how requests are treated: which endpoint gets them, which endpoints are well."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from ingress.health import HealthCheck, read_health_check
from ingress.listeners import BadAddress

F = TypeVar("F", bound=Callable[..., Any])

HASHES = ("ring", "maglev")
ALGORITHMS = ("round_robin", "ewma", "least_requests", *HASHES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What differs from the defaults: fields of Settings and BackendSpec in ingress/proxy/settings.py."""

    settings: dict[str, Any] = field(default_factory=dict)
    backends: dict[str, Any] = field(default_factory=dict)
    health_check: HealthCheck | None = None


def read_balance(text: str) -> dict[str, Any]:
    """Read "ewma" or "ring:cookie:session" as fields of BackendSpec. Raises BadAddress."""
    algorithm, _, hash_by = text.partition(":")
    if algorithm not in ALGORITHMS:
        raise BadAddress(f'"{text}": use one of {", ".join(ALGORITHMS)}')
    kind, _, name = hash_by.partition(":")
    if algorithm not in HASHES:
        if hash_by:
            raise BadAddress(f'"{text}": only {" and ".join(HASHES)} go by something')
        return {"algorithm": algorithm}
    if hash_by not in ("client", "uri") and not (kind in ("header", "cookie") and name):
        raise BadAddress(
            f'"{text}": say what it goes by: {algorithm}:client, {algorithm}:uri, '
            f"{algorithm}:header:NAME or {algorithm}:cookie:NAME"
        )
    return {"algorithm": algorithm, "hash_by": hash_by}


def read_size(text: str) -> int:
    """Octets: "1048576", "1m", "500k" or "2g", as nginx writes sizes; 0 is no limit. Raises BadAddress."""
    number, unit = (text[:-1], text[-1].lower()) if text[-1:].lower() in _UNITS else (text, "")
    if not (number.isascii() and number.isdigit()) or len(number) > 12:
        raise BadAddress(f'"{text}" is no size; write octets, or as 500k, 8m or 1g')
    return int(number) * _UNITS.get(unit, 1)


_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def _reads(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        try:
            return None if value is None else read(value)
        except BadAddress as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


_BALANCE = (
    "Which endpoint a request goes to: round_robin, ewma (the quicker of two), least_requests (of two), or by a "
    "consistent hash, as ring:client, ring:uri, maglev:header:NAME or maglev:cookie:NAME.  [default: round_robin]"
)
_HEALTH_CHECK = (
    "Ask every endpoint for this path, and send no requests to those that fail. Defaults: interval=10 (seconds), "
    "timeout=5, fails=2 and passes=1 (in a row), status=200-399, host= the endpoint's address."
)


_MAX_BODY = "Answer longer request bodies with 413, as in 8m, 500k; 0 is no limit.  [default: 0]"
_COMPRESS = "Compress texts for clients that take it (br, zstd, gzip)."


def tuning_flags(command: F) -> F:
    """Add the flags to a command; `take_tuning` reads them."""
    options = (
        click.option("--balance", callback=_reads(read_balance), metavar="ALGORITHM[:BY]", help=_BALANCE),
        click.option(
            "--health-check", callback=_reads(read_health_check), metavar="PATH[,NAME=VALUE...]", help=_HEALTH_CHECK
        ),
        click.option("--max-body", callback=_reads(read_size), metavar="SIZE", help=_MAX_BODY),
        click.option("--compress", is_flag=True, help=_COMPRESS),
    )
    for option in reversed(options):
        command = option(command)
    return command


def take_tuning(flags: dict[str, Any]) -> Tuning:
    """Takes the flags of `tuning_flags` out of `flags`."""
    settings = {"body_limit_bytes": flags.pop("max_body") or 0, "compress": flags.pop("compress")}
    return Tuning(
        settings={name: value for name, value in settings.items() if value},
        backends=flags.pop("balance") or {},
        health_check=flags.pop("health_check"),
    )
