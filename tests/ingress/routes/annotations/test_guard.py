"""Risk levels and forbidden words."""

import pytest

from ingress.routes.annotations import GROUPS, guard, read_annotations, refused
from ingress.routes.annotations.reader import PREFIXES
from ingress.routes.annotations.wishes import Risk
from tests.ingress.state import ingress

NGINX = PREFIXES[1]


def refusal(annotations: dict[str, str], config: dict[str, str]) -> tuple[str, list[str]]:
    found = ingress("web", {"a.example": [("/", "Prefix", "x")]}, annotations=annotations)
    wishes, problems, _ = read_annotations(found, config, lambda kind, namespace, name: None)
    return wishes.refused, [each.field for each in problems]


@pytest.mark.parametrize(
    ("level", "annotation", "served"),
    [
        ("Low", "enable-cors", True),
        ("Low", "cors-allow-methods", False),
        ("low", "rewrite-target", False),
        ("Medium", "rewrite-target", True),
        ("Low", "server-snippet", True),
        ("", "rewrite-target", True),
        ("Nonsense", "rewrite-target", True),
    ],
)
def test_253_annotations_above_the_level_are_refused(level: str, annotation: str, served: bool) -> None:
    values = {"enable-cors": "true", "cors-allow-methods": "GET", "rewrite-target": "/x", "server-snippet": "x"}
    found, fields = refusal({NGINX + annotation: values[annotation]}, {"annotations-risk-level": level})
    assert bool(found) is not served
    if not served:
        assert fields == [f"metadata.annotations[{NGINX}{annotation}]"]


@pytest.mark.parametrize(
    ("annotations", "served"),
    [
        ({NGINX + "rewrite-target": "/foo_by_lua"}, False),
        ({PREFIXES[0] + "rewrite-target": "/a{b"}, False),
        ({NGINX + "server-snippet": "x\nfoo_by_lua"}, False),
        ({NGINX + "rewrite-target": "/plain"}, True),
        ({"example.com/other": "foo_by_lua {"}, True),
    ],
)
def test_253_forbidden_words_are_refused(annotations: dict[str, str], served: bool) -> None:
    found, _ = refusal(annotations, {"annotation-value-word-blocklist": "_by_lua, {, ,"})
    assert bool(found) is not served


def test_every_annotation_has_one_owner() -> None:
    names = [name for group in GROUPS for name in group.NAMES]
    assert sorted(set(names)) == sorted(names)


# As in ingress-nginx's docs/user-guide/nginx-configuration/annotations-risk.md.
TABLE = {
    Risk.LOW: """backend-protocol auth-secret-type auth-type canary canary-weight canary-weight-total
        auth-tls-pass-certificate-to-upstream auth-tls-verify-depth client-body-buffer-size connection-proxy-header
        cors-allow-credentials cors-max-age enable-cors custom-http-errors default-backend
        disable-proxy-intercept-errors enable-global-auth auth-always-set-cookie auth-keepalive auth-keepalive-requests
        auth-keepalive-share-vars auth-keepalive-timeout auth-method http2-push-preload load-balance enable-access-log
        enable-opentelemetry opentelemetry-trust-incoming-span
        enable-rewrite-log mirror-request-body enable-modsecurity enable-owasp-core-rules proxy-buffer-size
        proxy-buffering proxy-buffers-number proxy-connect-timeout proxy-http-version proxy-max-temp-file-size
        proxy-next-upstream-timeout proxy-next-upstream-tries proxy-read-timeout proxy-request-buffering
        proxy-send-timeout proxy-ssl-protocols proxy-ssl-server-name proxy-ssl-verify proxy-ssl-verify-depth
        limit-allowlist limit-burst-multiplier limit-connections limit-rate limit-rate-after limit-rpm limit-rps
        from-to-www-redirect permanent-redirect-code temporal-redirect-code ssl-redirect use-regex ssl-ciphers
        ssl-prefer-server-ciphers ssl-passthrough satisfy service-upstream affinity affinity-canary-behavior
        session-cookie-change-on-failure session-cookie-conditional-samesite-none session-cookie-samesite
        session-cookie-secure upstream-hash-by-subset upstream-hash-by-subset-size upstream-vhost use-port-in-redirects
        """,
    Risk.MEDIUM: """opentelemetry-operation-name
        allowlist-source-range auth-realm auth-secret canary-by-cookie canary-by-header
        canary-by-header-pattern canary-by-header-value auth-tls-secret auth-tls-verify-client cors-allow-headers
        cors-allow-methods cors-allow-origin cors-expose-headers custom-headers denylist-source-range
        auth-cache-duration auth-cache-key auth-proxy-set-headers auth-request-redirect auth-response-headers
        auth-signin-redirect-param fastcgi-index fastcgi-params-configmap proxy-body-size proxy-cookie-domain
        proxy-cookie-path proxy-next-upstream proxy-redirect-from proxy-redirect-to proxy-ssl-ciphers proxy-ssl-secret
        permanent-redirect temporal-redirect app-root force-ssl-redirect preserve-trailing-slash rewrite-target
        affinity-mode session-cookie-domain session-cookie-expires session-cookie-max-age session-cookie-name
        session-cookie-path x-forwarded-prefix""",
    Risk.HIGH: """server-alias auth-tls-error-page auth-tls-match-cn auth-signin auth-url mirror-host mirror-target
        modsecurity-transaction-id proxy-ssl-name upstream-hash-by""",
    Risk.CRITICAL: "configuration-snippet auth-snippet modsecurity-snippet server-snippet stream-snippet",
}


@pytest.mark.parametrize("risk", Risk)
def test_annotations_have_the_risks_of_ingress_nginx(risk: Risk) -> None:
    found = {name: each for group in GROUPS for name, each in group.NAMES.items()}
    assert {name: found.get(name) for name in TABLE[risk].split()} == dict.fromkeys(TABLE[risk].split(), risk)


def test_keys_of_the_guard_are_no_annotations() -> None:
    assert not guard.CONFIG & {name for group in GROUPS for name in group.NAMES}
    assert refused.NAMES["server-snippet"] is Risk.CRITICAL
