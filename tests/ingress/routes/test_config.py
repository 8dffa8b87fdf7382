"""The controller's ConfigMap: what each key means, and what is said of those that mean nothing."""

from typing import Any

import msgspec
import pytest

from ingress.proxy import BackendSpec, Settings
from ingress.routes.annotations import GROUPS
from ingress.routes.classes import STANDALONE
from ingress.routes.compile import RoutingTable
from ingress.routes.config import KNOWN, key_of, read_config
from ingress.routes.model import Config, Defaults
from lb.cluster.objects import ConfigMap, Metadata
from tests.ingress.state import ingress, service, store_of


def config_map(**data: str) -> ConfigMap:
    named = {name.replace("_", "-"): value for name, value in data.items()}
    return ConfigMap(metadata=Metadata(name="controller", namespace="ingress"), data=named)


def read(**data: str) -> Config:
    return read_config(config_map(**data))


UNDERSCORES = {"underscores": False}
"""What a ConfigMap without a word of it means."""


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ({"keep_alive": "20"}, {"client_idle_seconds": 20}),
        ({"client_header_timeout": "90s"}, {"client_head_seconds": 90}),
        ({"proxy_read_timeout": "1h30m"}, {"upstream_read_seconds": 5400}),
        ({"proxy_connect_timeout": "500ms"}, {"connect_seconds": 0.5}),
        ({"upstream_keepalive_time": "2h"}, {"upstream_age_seconds": 7200}),
        ({"proxy_stream_timeout": "10s"}, {"passthrough_idle_seconds": 10}),
        ({"client_body_buffer_size": "16k"}, {"request_buffer_bytes": 16384}),
        ({"large_client_header_buffers": "4 8k"}, {"target_limit_bytes": 8192, "head_limit_bytes": 32768}),
        ({"proxy_next_upstream": "error http_502"}, {"retry_on": ("error", "http_502")}),
        ({"proxy_next_upstream": "off"}, {"retry_on": ("off",)}),
        ({"retry_non_idempotent": "true"}, {"retry_on": ("error", "timeout", "non_idempotent")}),
        ({"proxy_next_upstream_tries": "0"}, {"attempts": 8}),
        ({"server_tokens": "false"}, {"server": "", "brand": ""}),
        ({"ssl_protocols": "TLSv1 TLSv1.3"}, {"tls_protocols": ("TLSv1.3",)}),
        ({"ssl_session_timeout": "10m"}, {"tls_session_seconds": 600}),
        ({"use_gzip": "true", "gzip_level": "7"}, {"compressions": ("gzip",), "gzip_level": 7}),
        ({"enable_brotli": "true", "brotli_min_length": "30"}, {"compressions": ("br",), "compress_least_bytes": 30}),
        ({"gzip_types": "text/css, text/xml"}, {"compress_types": ("text/css", "text/xml")}),
        (
            {"log_format_upstream": '{"a":"$host"}', "log_format_escape_json": "true"},
            {"access_log_format": '{"a":"$host"}', "access_log_escape": "json"},
        ),
        (
            {"use_forwarded_headers": "true", "proxy_real_ip_cidr": "10.1.2.3/8,::1"},
            {"use_forwarded_headers": True, "trusted_proxies": ("10.0.0.0/8", "::1/128")},
        ),
        (
            {"use_forwarded_headers": "true"},
            {"use_forwarded_headers": True, "trusted_proxies": ("0.0.0.0/0", "::/0")},
        ),
        ({"use_forwarded_headers": "false"}, {"use_forwarded_headers": False}),
    ],
    ids=str,
)
def test_settings_of_the_engines(data: dict[str, str], settings: dict[str, Any]) -> None:
    found = read(**data)
    assert (found.settings, found.problems) == (settings | UNDERSCORES, ())
    Settings(**found.settings)


@pytest.mark.parametrize(
    ("data", "reported"),
    [
        (
            {"keep_alive_requests": "1000", "allow_snippet_annotations": "False", "proxy_stream_next_upstream": "true"},
            0,
        ),
        ({"keep_alive_requests": "50"}, 1),
        ({"allow_snippet_annotations": "true"}, 1),
        ({"ssl_session_cache": "false"}, 1),
        ({"ignore_invalid_headers": "false"}, 1),
        ({"proxy_stream_next_upstream_tries": "7", "otel_max_queuesize": "2"}, 2),
        ({"proxy_buffer_size": "32k"}, 0),
        ({"proxy_buffer_size": "33k"}, 1),
    ],
    ids=str,
)
def test_what_cannot_be_said_is_reported_where_it_would_matter(data: dict[str, str], reported: int) -> None:
    found = read(**data)
    assert len(found.problems) == reported
    assert all(each.advice for each in found.problems)
    assert found.settings == UNDERSCORES


def test_what_is_no_setting() -> None:
    found = read(load_balance="ewma", worker_shutdown_timeout="240s", use_proxy_protocol="true")
    assert (found.backends, found.drain_seconds, found.proxy_protocol) == ({"algorithm": "ewma"}, 240, True)
    BackendSpec(**found.backends)


def test_what_annotations_fall_back_to() -> None:
    found = read(proxy_body_size="8m", whitelist_source_range="10.0.0.0/8", ssl_redirect="f")
    assert found.values == {"proxy-body-size": "8m", "whitelist-source-range": "10.0.0.0/8", "ssl-redirect": "f"}
    assert (found.settings, found.problems) == (UNDERSCORES, ())


@pytest.mark.parametrize(
    ("data", "reason", "advice"),
    [
        ({"keep_alvie": "20"}, "it is not known here", "correct its name, or remove it: it has no effect"),
        ({"proxy_body_size": "15r"}, '"15r" is not a size such as 8m, 512k or 1024', "the default counts"),
        ({"keep_alive": "soon"}, '"soon" is not a time such as 60, 60s or 1h30m', "the default counts"),
        ({"hsts": "yes"}, '"yes" is neither true nor false', "the default counts"),
        ({"custom_http_errors": "404,4o4"}, '"4o4" is not a whole number from 300 to 599', "the default counts"),
        ({"proxy_real_ip_cidr": "10.0.0.0/33"}, "'10.0.0.0/33' does not appear to be an", "the default counts"),
        ({"add_headers": "custom"}, '"custom" is not NAMESPACE/NAME', "the default counts"),
        ({"http_snippet": "x"}, "text for nginx's configuration has no meaning here", "say it by other keys"),
        ({"enable_modsecurity": "true"}, "NOBODY INSPECTS REQUESTS", "put a web application firewall"),
        ({"worker_processes": "4"}, "it has no effect", "give --workers"),
        ({"ssl_protocols": "TLSv1.1"}, '"TLSv1.1" has neither TLSv1.2 nor TLSv1.3', "the default counts"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_by_key_and_has_no_effect(data: dict[str, str], reason: str, advice: str) -> None:
    found = read(**data, hsts_max_age="7")
    (problem,) = found.problems
    (key,) = data
    assert (problem.object, problem.field) == ("ConfigMap ingress/controller", f"data[{key.replace('_', '-')}]")
    assert problem.reason.startswith(reason)
    assert problem.advice.startswith(advice)
    assert (found.values, found.settings) == ({"hsts-max-age": "7"}, UNDERSCORES)


@pytest.mark.parametrize("data", [{"enable_modsecurity": "false"}, {"server_name_hash_max_size": "1024"}, {"x": " "}])
def test_what_asks_for_nothing_is_fine(data: dict[str, str]) -> None:
    assert read(**data) == Config(settings=UNDERSCORES)


def test_every_key_that_annotations_read_is_known() -> None:
    assert set().union(*(group.CONFIG for group in GROUPS)) <= KNOWN


def test_settings_are_told_by_their_key() -> None:
    assert (key_of("tls_ciphers"), key_of("brand")) == ("ssl-ciphers", "brand")


def test_a_changed_config_map_reads_ingresses_again() -> None:
    found = ingress("one", {"a.example": [("/", "Prefix", "x")]}, ingressClassName="nginx")
    store = store_of(found, *service("x"), config_map(hsts="false", ssl_redirect="false"))
    table = RoutingTable(store, STANDALONE, defaults=Defaults(config_map=("ingress", "controller")))
    changes = table.update(None)
    assert changes.config == table.config
    before = table.hosts["a.example"].routes[0]
    assert not dict(before.options).get("response_set_secure")
    now = config_map(hsts_max_age="77", keep_alive="8", tpyo="")
    store.put(now)
    changes = table.update([now.key])
    assert changes.config is not None
    assert changes.config.settings == {"client_idle_seconds": 8} | UNDERSCORES
    route = table.hosts["a.example"].routes[0]
    assert dict(route.options)["response_set_secure"] == (
        ("Strict-Transport-Security", "max-age=77; includeSubDomains"),
    )
    store.remove(now.key)
    changes = table.update([now.key])
    assert changes.config == Config()
    assert table.update([now.key]).config is None


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({}, False),
        ({"annotations_risk_level": "Low"}, True),
        ({"annotation_value_word_blocklist": "alias, evil"}, True),
        ({"annotation_value_word_blocklist": "good"}, False),
    ],
)
def test_253_annotations_that_the_operator_does_not_allow_leave_the_ingress_out(
    config: dict[str, str], refused: bool
) -> None:
    bad = ingress(
        "bad",
        {"a.example": [("/", "Prefix", "x")]},
        annotations={"nginx.ingress.kubernetes.io/permanent-redirect": "http://evil.example/"},
    )
    other = ingress("other", {"b.example": [("/", "Prefix", "x")]})
    store = store_of(bad, other, *service("x"), config_map(**config))
    table = RoutingTable(store, STANDALONE, defaults=Defaults(config_map=("ingress", "controller")))
    table.update(None)
    assert sorted(table.hosts) == (["b.example"] if refused else ["a.example", "b.example"])
    assert len(table.problems) == refused
    assert msgspec.json.encode(list(table.refused)) == (b'[["shop","bad"]]' if refused else b"[]")


@pytest.mark.parametrize(
    ("key", "value"),
    [("whitelist-source-range", "10.0.0.0/99"), ("denylist-source-range", "x"), ("global-auth-always-set-cookie", "x")],
)
def test_what_says_who_may_pass_stays_although_it_is_wrong(key: str, value: str) -> None:
    found = read_config(ConfigMap(metadata=Metadata(name="c", namespace="ops"), data={key: value}))
    assert found.values == {key: value}
    assert [each.advice for each in found.problems] == ["nobody is let in"]
