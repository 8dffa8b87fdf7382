"""Annotations of ingress-nginx that have no effect here: why, and what to use instead.

The Ingress is served without their effect.
"""

from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Risk, Wishes

_SNIPPET = "text for nginx's configuration has no meaning here"
_INSTEAD = (
    "say it by annotations (custom-headers, rewrite-target, permanent-redirect, auth-url, proxy-* ...) or by a filter"
)
_WAF = "NOBODY INSPECTS REQUESTS: there is no ModSecurity here, so the protection it gave is lost"
_WAF_INSTEAD = "put a web application firewall before this proxy or before the Service, or write a filter"
_REMOVED = "ingress-nginx has removed it as well"
_TRACE = "use enable-opentelemetry, or let endpoints make theirs: traceparent goes through to them"
_FASTCGI = "FastCGI is not spoken here"
GRAVE = frozenset({_SNIPPET, _WAF, _FASTCGI})
"""Without the effect the Ingress is not what its author wanted: new ones are not admitted."""

_REASONS: dict[str, tuple[Risk, str, str]] = {
    "configuration-snippet": (Risk.CRITICAL, _SNIPPET, _INSTEAD),
    "server-snippet": (Risk.CRITICAL, _SNIPPET, _INSTEAD),
    "stream-snippet": (Risk.CRITICAL, _SNIPPET, "use --tcp-services-configmap for TCP"),
    "auth-snippet": (Risk.CRITICAL, _SNIPPET, "use auth-proxy-set-headers, auth-method or auth-cache-key"),
    "enable-modsecurity": (Risk.LOW, _WAF, _WAF_INSTEAD),
    "enable-owasp-core-rules": (Risk.LOW, _WAF, _WAF_INSTEAD),
    "modsecurity-snippet": (Risk.CRITICAL, _WAF, _WAF_INSTEAD),
    "modsecurity-transaction-id": (Risk.HIGH, _WAF, _WAF_INSTEAD),
    "http2-push-preload": (Risk.LOW, "browsers have removed server push", "send Link: rel=preload, or 103 Early Hints"),
    "secure-backends": (Risk.LOW, _REMOVED, 'write backend-protocol: "HTTPS"'),
    "enable-opentracing": (Risk.LOW, _REMOVED, _TRACE),
    "opentracing-trust-incoming-span": (Risk.LOW, _REMOVED, _TRACE),
    "global-rate-limit": (Risk.LOW, _REMOVED, "use limit-rps or limit-rpm, which count for each replica"),
    "global-rate-limit-window": (Risk.LOW, _REMOVED, "use limit-rps or limit-rpm"),
    "global-rate-limit-key": (Risk.HIGH, _REMOVED, "use limit-rps or limit-rpm, which count by client address"),
    "global-rate-limit-ignored-cidrs": (Risk.MEDIUM, _REMOVED, "use limit-allowlist"),
    "fastcgi-index": (Risk.MEDIUM, _FASTCGI, "put an HTTP server before the application"),
    "fastcgi-params-configmap": (Risk.MEDIUM, _FASTCGI, "put an HTTP server before the application"),
    **{
        f"influxdb-{name}": (Risk.LOW, _REMOVED, "take the numbers from /metrics")
        for name in ("measurement", "port", "host", "server-name")
    },
    "enable-influxdb": (Risk.LOW, _REMOVED, "take the numbers from /metrics"),
}
SWITCHES = frozenset(
    {
        "enable-modsecurity",
        "enable-owasp-core-rules",
        "http2-push-preload",
        "secure-backends",
        "enable-opentracing",
        "enable-influxdb",
    }
)
"""Those that ask for nothing when they are off."""

SILENT = {"session-cookie-hash": Risk.LOW}
"""ingress-nginx takes them without effect, too."""

NAMES: dict[str, Risk] = {name: risk for name, (risk, _, _) in _REASONS.items()} | SILENT
CONFIG: frozenset[str] = frozenset()


def read(reader: Reader, wishes: Wishes) -> None:
    for name in reader.names:
        if name in _REASONS and not (name in SWITCHES and not reader.flag(name)):
            _, reason, advice = _REASONS[name]
            reader.wrong(name, f"{reason}; it has no effect", advice, minor=reason not in GRAVE)
