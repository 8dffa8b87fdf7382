"""Limits per client, and of a response's rate."""

from ingress.filters.limits import LimitsSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

EXEMPT, EXEMPT_BEFORE = "limit-allowlist", "limit-whitelist"
KEY, ADDRESS_KEYS = "limit-conn-zone-variable", ("", "$binary_remote_addr", "$remote_addr")
RATE, RATE_AFTER = "limit-rate", "limit-rate-after"
BUSY_STATUS, OFTEN_STATUS = "limit-conn-status-code", "limit-req-status-code"
KILO = 1024

NAMES = {
    "limit-connections": Risk.LOW,
    "limit-rps": Risk.LOW,
    "limit-rpm": Risk.LOW,
    "limit-burst-multiplier": Risk.LOW,
    RATE: Risk.LOW,
    RATE_AFTER: Risk.LOW,
    EXEMPT: Risk.LOW,
    EXEMPT_BEFORE: Risk.LOW,
}
CONFIG = frozenset({KEY, RATE, RATE_AFTER, BUSY_STATUS, OFTEN_STATUS})


def read(reader: Reader, wishes: Wishes) -> None:
    per_second = reader.number(RATE, 0, config=RATE)
    if per_second:
        wishes.options["rate_bytes_per_second"] = per_second * KILO
        wishes.options["rate_after_bytes"] = reader.number(RATE_AFTER, 0, config=RATE_AFTER) * KILO
    connections = reader.number("limit-connections", 0, most=65535)
    rps, rpm = reader.number("limit-rps", 0), reader.number("limit-rpm", 0)
    multiplier = reader.number("limit-burst-multiplier", 5, least=1)
    exempt = EXEMPT if reader.has(EXEMPT) else EXEMPT_BEFORE
    networks = reader.networks(exempt) or ()
    if connections or rps or rpm:
        wishes.filters["limits"] = LimitsSpecification(
            zone=reader.title,
            connections=connections,
            per_second=rps,
            per_minute=rpm,
            burst_multiplier=multiplier,
            exempt=networks,
            key=_key(reader),
            connections_status=_status(reader, BUSY_STATUS),
            requests_status=_status(reader, OFTEN_STATUS),
        )


def _status(reader: Reader, key: str) -> int:
    """What is wrong in the ConfigMap is reported once for all Ingresses."""
    text = reader.config.get(key, "").strip()
    return int(text) if text.isascii() and text.isdigit() and 400 <= int(text) <= 599 else 503


def _key(reader: Reader) -> str:
    text = reader.config.get(KEY, "").strip()
    try:
        Template.parse(text)
    except ValueError:
        return ""
    return "" if text in ADDRESS_KEYS else text
