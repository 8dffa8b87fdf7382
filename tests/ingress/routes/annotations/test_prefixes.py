"""Every annotation means the same under our own prefix."""

import pytest

from ingress.routes.annotations import GROUPS, KNOWN, PREFIXES, read_annotations
from ingress.routes.annotations.wishes import Wishes
from tests.ingress.state import ingress

OURS, NGINX = PREFIXES

SENSE = {
    "affinity": "cookie",
    "affinity-mode": "persistent",
    "affinity-canary-behavior": "legacy",
    "app-root": "/app",
    "auth-method": "HEAD",
    "auth-realm": "Shop",
    "auth-secret": "shop/users",
    "auth-signin": "https://login.example",
    "auth-tls-secret": "shop/authority",
    "auth-tls-verify-client": "optional",
    "auth-type": "basic",
    "auth-url": "http://judge.example/",
    "backend-protocol": "HTTPS",
    "canary-by-header-pattern": "^[a-z]+$",
    "connection-proxy-header": "keep-alive",
    "cors-allow-origin": "https://a.example",
    "custom-http-errors": "404,503",
    "load-balance": "ewma",
    "mirror-target": "http://mirror.example",
    "proxy-cookie-domain": "a b",
    "proxy-cookie-path": "/a /b",
    "proxy-next-upstream": "http_503",
    "proxy-redirect-from": "http://a/",
    "proxy-redirect-to": "http://b/",
    "rewrite-target": "/new",
    "satisfy": "any",
    "server-alias": "b.example",
    "session-cookie-path": "/x",
    "session-cookie-samesite": "Strict",
    "permanent-redirect": "https://c.example",
    "temporal-redirect": "https://d.example",
    "upstream-vhost": "in.example",
    "x-forwarded-prefix": "/shop",
}
"""Values that make sense, where neither a number, nor a switch, nor a network is one."""


def of(prefix: str, name: str, value: str) -> tuple[Wishes, list[tuple[str, str, str]]]:
    """What it comes to, and what is reported, the prefix left out."""
    switches = {"enable-cors": "true", "canary": "true", "limit-rps": "7"}
    written = {prefix + key: each for key, each in {**switches, name: value}.items()}
    found = ingress("web", {"a.example": [("/", "Prefix", "web")]}, annotations=written)
    wishes, problems, _ = read_annotations(found, {}, lambda kind, namespace, name: None)
    return wishes, [(each.field.replace(prefix, ""), each.reason.replace(prefix, ""), each.advice) for each in problems]


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_both_prefixes_mean_the_same(name: str) -> None:
    for value in dict.fromkeys(("true", "false", "17", "10.0.0.0/8", "no sense\n", SENSE.get(name, "off"))):
        assert of(OURS, name, value) == of(NGINX, name, value), value


def test_each_annotation_belongs_to_one_group() -> None:
    listed = [name for group in GROUPS for name in group.NAMES]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) | {"strict"} == KNOWN


def test_ours_counts_where_both_are_there() -> None:
    written = {NGINX + "proxy-body-size": "1m", OURS + "proxy-body-size": "2m"}
    found = ingress("web", {"a.example": [("/", "Prefix", "web")]}, annotations=written)
    wishes, problems, _ = read_annotations(found, {}, lambda kind, namespace, name: None)
    assert 2 << 20 in wishes.options.values()
    assert problems == []
