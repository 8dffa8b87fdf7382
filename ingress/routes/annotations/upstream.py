"""How endpoints are chosen, asked, waited for and asked again, and how bodies go to and fro."""

import re

from ingress.filters.hash import HashSpecification
from ingress.filters.variables import Template
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

NAMES = {
    "proxy-body-size": Risk.MEDIUM,
    "proxy-connect-timeout": Risk.LOW,
    "proxy-send-timeout": Risk.LOW,
    "proxy-read-timeout": Risk.LOW,
    "proxy-next-upstream": Risk.MEDIUM,
    "proxy-next-upstream-tries": Risk.LOW,
    "proxy-next-upstream-timeout": Risk.LOW,
    "proxy-request-buffering": Risk.LOW,
    "proxy-buffering": Risk.LOW,
    "proxy-buffer-size": Risk.LOW,
    "proxy-buffers-number": Risk.LOW,
    "proxy-busy-buffers-size": Risk.LOW,
    "proxy-max-temp-file-size": Risk.LOW,
    "client-body-buffer-size": Risk.LOW,
    "proxy-http-version": Risk.LOW,
    "load-balance": Risk.LOW,
    "upstream-hash-by": Risk.HIGH,
    "upstream-hash-by-subset": Risk.LOW,
    "upstream-hash-by-subset-size": Risk.LOW,
    "service-upstream": Risk.LOW,
}
CONFIG = frozenset(
    {
        "proxy-body-size",
        "proxy-connect-timeout",
        "proxy-send-timeout",
        "proxy-read-timeout",
        "proxy-next-upstream",
        "proxy-next-upstream-tries",
        "proxy-next-upstream-timeout",
        "retry-non-idempotent",
        "proxy-request-buffering",
        "proxy-buffering",
        "proxy-buffer-size",
        "proxy-buffers-number",
        "proxy-busy-buffers-size",
        "proxy-max-temp-file-size",
        "client-body-buffer-size",
        "proxy-http-version",
        "load-balance",
        "upstream-hash-by",
        "service-upstream",
    }
)

RETRY_TOKENS = (
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
    "off",
)
RETRY_ON = ("error", "timeout")
NGINX_BODY_BYTES = 1 << 20
RESPONSE_HEAD_BYTES = 32768
"""What an endpoint's head may always have; ingress-nginx's 4 kB are the cause of many a 502."""
ENOUGH_ATTEMPTS = 8
"""What "no limit" comes to: a request that has failed so often will not do."""

_ENGINE_HASHES = {
    "request_uri": "uri",
    "remote_addr": "client",
    "binary_remote_addr": "client",
    "the_real_ip": "client",
}


def read(reader: Reader, wishes: Wishes) -> None:
    _bodies(reader, wishes)
    _patience(reader, wishes)
    _memory(reader)
    _balance(reader, wishes)
    wishes.service_upstream = reader.flag("service-upstream", config="service-upstream")


def _bodies(reader: Reader, wishes: Wishes) -> None:
    """What ingress-nginx does unasked is done for those who come from there."""
    asked: dict[str, int | bool | None] = {}
    name = "proxy-body-size"
    if reader.compat or reader.has(name) or name in reader.config:
        asked["body_limit_bytes"] = reader.size(name, NGINX_BODY_BYTES if reader.compat else 0, config=name)
    asked["request_buffering"] = _switch(reader, "proxy-request-buffering", True if reader.compat else None)
    asked["response_buffering"] = _switch(reader, "proxy-buffering", False if reader.compat else None)
    wishes.options |= {name: value for name, value in asked.items() if value is not None}


def _switch(reader: Reader, name: str, default: bool | None) -> bool | None:
    """on and off; the ConfigMap's true and false are understood too."""
    spelled = {"on": True, "off": False, "true": True, "false": False, "default": default, "": default}
    return spelled[reader.choice(name, tuple(spelled), "", config=name)]


def _patience(reader: Reader, wishes: Wishes) -> None:
    """What every backend has by the ConfigMap is no wish."""
    found: dict[str, object] = {}
    for name, field, default in (
        ("proxy-connect-timeout", "connect_seconds", 5),
        ("proxy-send-timeout", "send_seconds", 60),
        ("proxy-read-timeout", "read_seconds", 60),
        ("proxy-next-upstream-timeout", "retry_seconds", 0),
        ("proxy-next-upstream-tries", "attempts", 3),
    ):
        least = 0 if name.startswith("proxy-next") else 1
        value, plain = (reader.number(each, default, least=least, most=86400 * 365, config=name) for each in (name, ""))
        if value != plain:
            found[field] = (min(value, 1000) or ENOUGH_ATTEMPTS) if field == "attempts" else float(value)
    tokens = _retry_on(reader, "proxy-next-upstream")
    if tokens != _retry_on(reader, ""):
        found["retry_on"] = tokens
    wishes.backend |= found


def _retry_on(reader: Reader, name: str) -> tuple[str, ...]:
    tokens = tuple(dict.fromkeys(reader.text(name, config="proxy-next-upstream").split())) or RETRY_ON
    unknown = [each for each in tokens if each not in RETRY_TOKENS]
    if unknown or ("off" in tokens and len(tokens) > 1):
        reason = f'"{unknown[0]}" is none of {", ".join(RETRY_TOKENS)}' if unknown else "off only stands alone"
        reader.wrong(name, reason, f"the default counts: {' '.join(RETRY_ON)}")
        tokens = RETRY_ON
    if tokens != ("off",) and reader.flag("", config="retry-non-idempotent") and "non_idempotent" not in tokens:
        tokens = (*tokens, "non_idempotent")
    return tokens


def _memory(reader: Reader) -> None:
    """What was said to size nginx's buffers has no effect here, unless it is about what a response may be."""
    if reader.size("proxy-buffer-size", 0, config="proxy-buffer-size") > RESPONSE_HEAD_BYTES:
        reader.wrong(
            "proxy-buffer-size",
            f"the head of a response has room for {RESPONSE_HEAD_BYTES >> 10} kB, always",
            "leave it out; shorten the endpoint's header fields if that is not enough",
        )
    for name in ("proxy-busy-buffers-size", "proxy-max-temp-file-size", "client-body-buffer-size"):
        reader.size(name, 0, config=name)
    reader.number("proxy-buffers-number", 4, config="proxy-buffers-number")
    if reader.choice("proxy-http-version", ("1.0", "1.1"), "1.1", config="proxy-http-version") == "1.0":
        reader.wrong("proxy-http-version", "endpoints are asked by HTTP/1.1 only", "leave it out")


def _balance(reader: Reader, wishes: Wishes) -> None:
    by = _hash_by(reader)
    if not by:
        choices = ("round_robin", "ewma", "least_requests")
        algorithm, plain = (
            reader.choice(each, choices, choices[0], config="load-balance") for each in ("load-balance", "")
        )
        if algorithm != plain:
            wishes.backend["algorithm"] = algorithm
        return
    if reader.flag("upstream-hash-by-subset"):
        size = reader.number("upstream-hash-by-subset-size", 3, least=1)
        wishes.filters["hash"] = HashSpecification(by, size)
        return
    engine = _engine_hash(by)
    if engine == "filter":
        wishes.filters["hash"] = HashSpecification(by)
    wishes.backend |= {"algorithm": "ring", "hash_by": engine, "load_bound": 0.0}


def _hash_by(reader: Reader) -> str:
    text = reader.text("upstream-hash-by", config="upstream-hash-by")
    try:
        Template.parse(text)
    except ValueError as error:
        reader.wrong("upstream-hash-by", str(error), "requests are balanced as if it were not there")
        return ""
    return text


def _engine_hash(by: str) -> str:
    """What the data plane can hash by itself, as BackendSpec.hash_by has it."""
    found = re.fullmatch(r"\$\{?(\w+)\}?", by)
    name = found[1] if found else ""
    if name in _ENGINE_HASHES:
        return _ENGINE_HASHES[name]
    for prefix, kind in (("http_", "header"), ("cookie_", "cookie")):
        rest = name.removeprefix(prefix)
        if rest and rest != name and name != "http_host" and len(rest) <= 64:
            return f"{kind}:{rest.replace('_', '-') if kind == 'header' else rest}"
    return "filter"
