"""The controller's ConfigMap -> what counts behind annotations, settings of the engines, and what is wrong with it.

Keys are ingress-nginx's (docs/user-guide/nginx-configuration/configmap.md). Every one is known here: `KEYS` says how
its value is written. What an annotation can say as well is read by the group of that annotation, with `Config.values`
behind it; the rest are fields of Settings and BackendSpec (ingress/proxy/settings.py).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ingress.routes.config_values import (
    bare_patterns,
    choice,
    codes,
    flag,
    fraction,
    head_size,
    log_format,
    names,
    networks,
    number,
    patterns,
    protocols,
    reference,
    seconds,
    size,
    template,
    text,
    tokens,
    words,
)
from ingress.routes.model import Config
from lb.cluster.objects import ConfigMap
from lb.cluster.problems import Problem

Parse = Callable[[str], Any]
"""Raises ValueError with what is wrong, as the rest of a sentence."""


class _Key(NamedTuple):
    parse: Parse
    field: str = ""
    """Of Settings, if the value is one."""


_TIMES = seconds(least=0.001)
_ZERO_TIMES = seconds(least=0)

_SETTINGS: dict[str, _Key] = {
    "keep-alive": _Key(_TIMES, "client_idle_seconds"),
    "client-header-timeout": _Key(_TIMES, "client_head_seconds"),
    "client-body-timeout": _Key(_TIMES, "client_body_seconds"),
    "client-body-buffer-size": _Key(size(), "request_buffer_bytes"),
    "proxy-connect-timeout": _Key(_TIMES, "connect_seconds"),
    "proxy-send-timeout": _Key(_TIMES, "upstream_send_seconds"),
    "proxy-read-timeout": _Key(_TIMES, "upstream_read_seconds"),
    "proxy-next-upstream-tries": _Key(number(0, 1000)),
    "proxy-next-upstream-timeout": _Key(_ZERO_TIMES, "retry_seconds"),
    "upstream-keepalive-connections": _Key(number(0, 1 << 20), "idle_per_endpoint"),
    "upstream-keepalive-timeout": _Key(_TIMES, "upstream_idle_seconds"),
    "upstream-keepalive-requests": _Key(number(1, 1 << 30), "requests_per_connection"),
    "upstream-keepalive-time": _Key(_ZERO_TIMES, "upstream_age_seconds"),
    "use-forwarded-headers": _Key(flag, "use_forwarded_headers"),
    "compute-full-forwarded-for": _Key(flag, "compute_full_forwarded_for"),
    "enable-underscores-in-headers": _Key(flag, "underscores"),
    "enable-real-ip": _Key(flag, "enable_real_ip"),
    "forwarded-for-header": _Key(text(r"[-A-Za-z0-9_]{1,64}"), "forwarded_for_header"),
    "proxy-real-ip-cidr": _Key(networks, "trusted_proxies"),
    "proxy-stream-timeout": _Key(_TIMES, "passthrough_idle_seconds"),
    "proxy-protocol-header-timeout": _Key(_TIMES, "proxy_header_seconds"),
    "ssl-protocols": _Key(protocols, "tls_protocols"),
    "ssl-ciphers": _Key(text(r"[-+!:@=A-Za-z0-9_]+"), "tls_ciphers"),
    "ssl-reject-handshake": _Key(flag, "tls_reject_unknown"),
    "ssl-session-tickets": _Key(flag, "tls_session_tickets"),
    "ssl-session-timeout": _Key(_TIMES, "tls_session_seconds"),
    "gzip-level": _Key(number(1, 9), "gzip_level"),
    "gzip-min-length": _Key(size(), "compress_least_bytes"),
    "gzip-types": _Key(words(r"[^\s/]+/[^\s/]+|\*"), "compress_types"),
    "brotli-level": _Key(number(0, 11), "brotli_level"),
    "log-format-upstream": _Key(log_format, "access_log_format"),
}
"""Those that are a field of Settings as they are."""

_TAKEN: dict[str, _Key] = {
    "proxy-next-upstream": _Key(tokens),
    "retry-non-idempotent": _Key(flag),
    "large-client-header-buffers": _Key(text(r"[1-9][0-9]{0,3}\s+[0-9]+[kKmM]?")),
    "client-header-buffer-size": _Key(size()),
    "use-proxy-protocol": _Key(flag),
    "server-tokens": _Key(flag),
    "use-gzip": _Key(flag),
    "enable-brotli": _Key(flag),
    "brotli-min-length": _Key(size()),
    "brotli-types": _Key(words(r"[^\s/]+/[^\s/]+|\*")),
    "log-format-escape-json": _Key(flag),
    "log-format-escape-none": _Key(flag),
    "load-balance": _Key(choice("round_robin", "ewma")),
    "worker-shutdown-timeout": _Key(_ZERO_TIMES),
}
"""Those that several fields are made of, below."""

_BEHIND: dict[str, _Key] = {
    name: _Key(parse)
    for parse, listed in {
        flag: """ssl-redirect force-ssl-redirect hsts hsts-include-subdomains hsts-preload disable-access-log
            service-upstream allow-backend-server-header
            enable-access-log-for-default-backend proxy-add-original-uri-header relative-redirects
            use-port-in-redirects preserve-trailing-slash allow-cross-namespace-resources
            strict-validate-path-type global-auth-always-set-cookie generate-request-id
            disable-proxy-intercept-errors enable-opentelemetry opentelemetry-trust-incoming-span
            otel-sampler-parent-based""",
        text("(?i)HTTP|HTTPS|AUTO_HTTP|GRPC|GRPCS|FCGI"): "backend-protocol",
        choice("on", "off"): "proxy-buffering proxy-request-buffering",
        size(): "proxy-body-size limit-rate limit-rate-after",
        head_size: "proxy-buffer-size",
        codes: "custom-http-errors",
        networks: "whitelist-source-range denylist-source-range block-cidrs",
        words(): """no-auth-locations no-tls-redirect-locations hide-headers global-allowed-response-headers
            annotation-value-word-blocklist""",
        patterns: "skip-access-log-urls block-user-agents block-referers",
        bare_patterns: "gzip-disable",
        reference: "add-headers proxy-set-headers global-auth-proxy-set-headers",
        text(): """proxy-cookie-domain proxy-cookie-path proxy-redirect-from proxy-redirect-to global-auth-url
            global-auth-method global-auth-signin global-auth-signin-redirect-param global-auth-response-headers
            global-auth-request-redirect global-auth-cache-key global-auth-cache-duration limit-conn-zone-variable
            upstream-hash-by otel-service-name""",
        template: "opentelemetry-operation-name",
        text(r"[0-9A-Za-z][0-9A-Za-z.-]*|[0-9a-fA-F:]*:[0-9a-fA-F:.]+"): "otlp-collector-host",
        number(1, 65535): "otlp-collector-port",
        choice("AlwaysOn", "AlwaysOff", "TraceIdRatioBased"): "otel-sampler",
        fraction: "otel-sampler-ratio",
        number(0, 2**31 - 1): "hsts-max-age",
        number(300, 599): "limit-req-status-code limit-conn-status-code",
        choice("301", "302", "307", "308"): "http-redirect-code",
        choice("Low", "Medium", "High", "Critical"): "annotations-risk-level",
    }.items()
    for name in names(listed)
}
"""Those that groups of annotations read."""

_CLOSING = frozenset(
    names("whitelist-source-range denylist-source-range block-cidrs global-auth-url global-auth-always-set-cookie")
)
"""Those that say who may pass: a wrong value stays, and the groups that read it let nobody in."""

_ELSEWHERE = {
    "worker-processes": "give --workers",
    "access-log-path": "give --access-log FILE",
    "http-access-log-path": "give --access-log FILE",
    "stream-access-log-path": "give --access-log FILE",
    "bind-address": "give the address to --http and --https",
    "bind-address-ipv4": "give the address to --http and --https",
    "bind-address-ipv6": "give the address to --http and --https",
    "disable-ipv6": "give an IPv4 address to --http and --https",
    "enable-ocsp": "put the answer of the authority into the endpoint's own TLS",
    "default-type": "let endpoints send Content-Type",
}
"""Those that are said in another way here."""

_NEEDLESS = frozenset(
    names("""access-log-params http-access-log-params stream-access-log-params upstream-keepalive
    variables-hash-bucket-size
    variables-hash-max-size server-name-hash-max-size server-name-hash-bucket-size map-hash-bucket-size
    proxy-headers-hash-max-size proxy-headers-hash-bucket-size lua-shared-dicts nginx-status-ipv4-whitelist
    nginx-status-ipv6-whitelist max-worker-connections max-worker-open-files enable-multi-accept reuse-port
    worker-cpu-affinity http2-max-field-size http2-max-header-size http2-max-requests http2-max-concurrent-streams
    use-http2 ssl-ecdh-curve ssl-dh-param ssl-early-data ssl-session-cache-size ssl-buffer-size
    proxy-buffers-number proxy-busy-buffers-size proxy-headers-hash proxy-stream-responses
    proxy-max-temp-file-size proxy-http-version error-log-level error-log-path log-format-stream
    disable-ipv6-dns limit-req-zone-variable enable-aio-write grpc-buffer-size-kb debug-connections
    enable-auth-access-log client-body-in-file-only upstream-http-version ssl-prefer-server-ciphers
    global-auth-cache-key-zone-size syslog-host syslog-port enable-syslog plugins proxy-ssl-location-only
""")
)
"""nginx's own housekeeping, and what is always so here: accepted without a word."""


class _Fixed(NamedTuple):
    usual: tuple[str, ...]
    """Values that ask for what is so anyway."""
    reason: str
    advice: str = "leave it out"


_STREAM = "a stream tries 3 endpoints until one takes the connection, and none afterwards"
_BATCHES = "spans are sent each second, at most 512 at once, and 2048 of them wait"
_FIXED = {
    "allow-snippet-annotations": _Fixed(
        ("false",), "text for nginx's configuration has no meaning here, whoever allows it", "say it by annotations"
    ),
    "keep-alive-requests": _Fixed(("1000",), "a connection takes as many requests as its client sends"),
    "ssl-session-cache": _Fixed(
        ("true",), "sessions are resumed by tickets, and none are kept", "set ssl-session-tickets to false"
    ),
    "ignore-invalid-headers": _Fixed(
        ("true",), "requests with a name that is none are refused", "let clients send names that are valid"
    ),
    "proxy-stream-next-upstream": _Fixed(("true",), _STREAM),
    "proxy-stream-next-upstream-timeout": _Fixed(("600s", "600", "10m"), _STREAM),
    "proxy-stream-next-upstream-tries": _Fixed(("3",), _STREAM),
    "otel-max-queuesize": _Fixed(("2048",), _BATCHES),
    "otel-schedule-delay-millis": _Fixed(("1000",), _BATCHES),
    "otel-max-export-batch-size": _Fixed(("512",), _BATCHES),
}
"""What cannot be said here: another value than the usual one is reported."""

_SNIPPET = "say it by other keys and annotations, or by a filter (ingress/filters)"
_REFUSED = {
    **dict.fromkeys(
        names("""main-snippet http-snippet server-snippet location-snippet stream-snippet global-auth-snippet
        server-snippets"""),
        f"text for nginx's configuration has no meaning here; {_SNIPPET}",
    ),
    **dict.fromkeys(
        names("""enable-modsecurity enable-owasp-modsecurity-crs modsecurity-snippet"""),
        "NOBODY INSPECTS REQUESTS: there is no ModSecurity here; put a web application firewall before this proxy",
    ),
    **dict.fromkeys(
        names("use-geoip use-geoip2 geoip2-autoreload-in-minutes"), "there are no GeoIP variables here; drop it"
    ),
    **dict.fromkeys(
        names("""enable-opentracing zipkin-collector-host jaeger-collector-host datadog-collector-host
        global-rate-limit-memcached-host global-rate-limit-status-code"""),
        "ingress-nginx has removed it as well; drop it",
    ),
}

KEYS: dict[str, _Key] = {**_SETTINGS, **_TAKEN, **_BEHIND}
KNOWN = frozenset([*KEYS, *_NEEDLESS, *_FIXED, *_ELSEWHERE, *_REFUSED])
_OFF = ("false", "0", "f")
EVERYBODY = ("0.0.0.0/0", "::/0")


def read_config(found: ConfigMap | None) -> Config:
    """Read the controller's ConfigMap; None: there is none, so every default counts."""
    return Config() if found is None else _Reading(found).read()


def key_of(field: str) -> str:
    """The key that says a field of Settings; the field's own name if several do."""
    return next((key for key, each in _SETTINGS.items() if each.field == field), field)


class _Reading:
    def __init__(self, found: ConfigMap) -> None:
        self.found = found
        self.values: dict[str, str] = {}
        self.parsed: dict[str, Any] = {}
        self.problems: list[Problem] = []

    def read(self) -> Config:
        for key, value in (self.found.data or {}).items():
            self._key(key, value.strip())
        settings = {_SETTINGS[key].field: value for key, value in self.parsed.items() if _field(key)}
        settings |= _retrying(self.parsed) | _heads(self.parsed) | _compressing(self.parsed) | _log(self.parsed)
        settings.setdefault("underscores", False)
        parsed = self.parsed
        self._spans()
        if not parsed.get("server-tokens", True):
            settings |= {"server": "", "brand": ""}
        believes = any(parsed.get(key) for key in ("use-forwarded-headers", "enable-real-ip", "use-proxy-protocol"))
        if believes and "trusted_proxies" not in settings:
            settings["trusted_proxies"] = EVERYBODY
        if parsed.get("use-proxy-protocol"):
            # Whoever connects begins with a header; whose X-Forwarded-For counts is for proxy-real-ip-cidr to say.
            settings["proxy_protocol_from"] = EVERYBODY
        return Config(
            self.values,
            settings,
            {"algorithm": parsed["load-balance"]} if "load-balance" in parsed else {},
            parsed.get("worker-shutdown-timeout"),
            parsed.get("use-proxy-protocol", False),
            tuple(self.problems),
        )

    def _key(self, key: str, value: str) -> None:
        if not value or key in _NEEDLESS:
            return
        if key in _REFUSED:
            reason, _, advice = _REFUSED[key].partition("; ")
            if value.lower() not in _OFF:
                self._wrong(key, reason, advice)
        elif key in _FIXED:
            if value.lower() not in _FIXED[key].usual:
                self._wrong(key, f"it has no effect: {_FIXED[key].reason}", _FIXED[key].advice)
        elif key in _ELSEWHERE:
            if value.lower() in _OFF:
                return
            self._wrong(key, "it has no effect: it is not read from a ConfigMap here", _ELSEWHERE[key])
        elif key not in KEYS:
            self._wrong(key, "it is not known here", "correct its name, or remove it: it has no effect")
        else:
            try:
                self.parsed[key] = KEYS[key].parse(value)
            except ValueError as error:
                if key in _CLOSING:
                    self.values[key] = value
                self._wrong(key, str(error), "nobody is let in" if key in _CLOSING else "the default counts")
            else:
                self.values[key] = value

    def _spans(self) -> None:
        if self.parsed.get("enable-opentelemetry") and "otlp-collector-host" not in self.parsed:
            self._wrong("enable-opentelemetry", "there is no collector", "set otlp-collector-host; no spans are made")
        if self.parsed.get("otlp-collector-port") == 4317:
            self._wrong(
                "otlp-collector-port",
                "spans go by OTLP over HTTP, and 4317 is the port of OTLP over gRPC",
                "write 4318, unless the collector takes HTTP there",
            )

    def _wrong(self, key: str, reason: str, advice: str) -> None:
        metadata = self.found.metadata
        self.problems.append(Problem(f"ConfigMap {metadata.namespace}/{metadata.name}", f"data[{key}]", reason, advice))


def _field(key: str) -> str:
    return _SETTINGS[key].field if key in _SETTINGS else ""


def _retrying(parsed: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "proxy-next-upstream" in parsed or parsed.get("retry-non-idempotent"):
        settings["retry_on"] = parsed.get("proxy-next-upstream", ("error", "timeout"))
        if parsed.get("retry-non-idempotent") and settings["retry_on"] != ("off",):
            settings["retry_on"] = tuple(dict.fromkeys((*settings["retry_on"], "non_idempotent")))
    if "proxy-next-upstream-tries" in parsed:
        # nginx: 0 is no limit. Nobody needs more than the engine's most.
        settings["attempts"] = min(parsed["proxy-next-upstream-tries"] or 8, 8)
    return settings


def _heads(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """nginx: a request line fits into one large buffer, a head into all of them."""
    if "large-client-header-buffers" not in parsed:
        return {}
    count, each = parsed["large-client-header-buffers"].split()
    one = size()(each)
    return {
        "target_limit_bytes": min(max(one, 16), 65536),
        "head_limit_bytes": min(max(int(count) * one, 256), 1 << 20),
    }


def _compressing(parsed: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [name for name, key in (("br", "enable-brotli"), ("gzip", "use-gzip")) if parsed.get(key)]
    settings: dict[str, Any] = {"compressions": tuple(kinds)} if kinds else {}
    if parsed.get("enable-brotli") and not parsed.get("use-gzip"):
        for key, name in (("brotli-min-length", "compress_least_bytes"), ("brotli-types", "compress_types")):
            if key in parsed:
                settings[name] = parsed[key]
    return settings


def _log(parsed: Mapping[str, Any]) -> dict[str, Any]:
    if "log-format-upstream" not in parsed:
        return {}
    for escape in ("json", "none"):
        if parsed.get(f"log-format-escape-{escape}"):
            return {"access_log_escape": escape}
    return {"access_log_escape": "default"}
