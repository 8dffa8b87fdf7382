"""Groups that have nothing to read: what is merged of them is what they would have read."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from ingress.routes.annotations import GROUPS, KNOWN, Idle, read_annotations
from ingress.routes.classes import STANDALONE
from ingress.routes.compile import RoutingTable
from ingress.routes.model import Defaults
from lb.cluster.objects import ConfigMap, Ingress, Metadata
from tests.ingress.state import ingress, service, store_of

PREFIX = "nginx.ingress.kubernetes.io/"
CONFIGS: list[dict[str, str]] = [
    {},
    {
        "whitelist-source-range": "10.0.0.0/8",
        "global-auth-url": "http://auth.example/",
        "custom-http-errors": "404",
        "load-balance": "ewma",
        "service-upstream": "true",
        "proxy-body-size": "9m",
        "add-headers": "shop/headers",
        "server-tokens": "true",
        "use-gzip": "true",
        "upstream-hash-by": "$request_uri",
        "force-ssl-redirect": "true",
        "limit-rate": "5",
        "block-cidrs": "192.0.2.0/24",
        "proxy-cookie-path": "/a /b",
        "enable-opentelemetry": "true",
    },
]
VALUES = ("true", "5", "/x", "shop", "http://a.example/", "HTTPS")


def one(annotations: Mapping[str, str], tls: bool) -> Ingress:
    named = {PREFIX + name: value for name, value in annotations.items()}
    spec: dict[str, Any] = {"tls": [{"hosts": ["a.example"]}]} if tls else {}
    return ingress("one", {"a.example": [("/a", "Prefix", "x")]}, annotations=named, **spec)


@pytest.mark.parametrize("config", CONFIGS, ids=["plain", "configured"])
@pytest.mark.parametrize(("tls", "compat"), list(itertools.product((False, True), repeat=2)))
def test_merged_is_as_read(config: dict[str, str], tls: bool, compat: bool) -> None:
    store = store_of(*service("shop"), ConfigMap(metadata=Metadata(name="headers", namespace="shop"), data={"A": "b"}))
    idle = Idle(config, store.get, "")
    pairs = [{name: value} for name in sorted(KNOWN) for value in VALUES]
    pairs += [{one: "true", two: "5"} for one, two in itertools.pairwise(sorted(KNOWN))]
    pairs += [
        {"affinity": "cookie", "upstream-hash-by": "$host", "canary": "true"},
        {"satisfy": "any", "auth-type": "basic"},
    ]
    for annotations in pairs:
        found = one(annotations, tls)
        read = read_annotations(found, config, store.get, compat=compat)
        assert read_annotations(found, config, store.get, compat=compat, idle=idle) == read, annotations


def test_every_group_has_been_asked_once() -> None:
    assert len(set(GROUPS)) == len(GROUPS)


def test_an_object_that_the_config_map_names_is_followed() -> None:
    def headers(value: str) -> ConfigMap:
        return ConfigMap(metadata=Metadata(name="headers", namespace="ops"), data={"X-Said": value})

    controller = ConfigMap(metadata=Metadata(name="controller", namespace="ops"), data={"add-headers": "ops/headers"})
    annotated = one({"proxy-read-timeout": "9"}, tls=False)
    plain = ingress("plain", {"b.example": [("/", "Prefix", "x")]})
    store = store_of(annotated, plain, *service("x"), controller, headers("one"))
    table = RoutingTable(store, STANDALONE, defaults=Defaults(config_map=("ops", "controller")))
    table.update(None)
    for value in ("one", "two"):
        store.put(headers(value))
        table.update([headers(value).key])
        said = [dict(table.hosts[host].routes[0].options)["response_set"] for host in ("a.example", "b.example")]
        assert said == [(("X-Said", value),)] * 2
