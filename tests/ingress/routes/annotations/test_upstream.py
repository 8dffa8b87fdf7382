"""Annotations about endpoints -> options, backends and filters."""

from typing import Any

import pytest

from ingress.filters.hash import HashSpecification
from ingress.routes.annotations import upstream
from tests.ingress.routes.annotations.reading import read

NGINX = {"body_limit_bytes": 1 << 20, "request_buffering": True, "response_buffering": False}


@pytest.mark.parametrize(
    ("annotations", "config", "compat", "wanted", "problems"),
    [
        ({}, {}, False, {}, []),
        pytest.param({}, {}, True, NGINX, [], id="176"),
        pytest.param({"proxy-body-size": "8m"}, {}, True, NGINX | {"body_limit_bytes": 8 << 20}, [], id="176"),
        pytest.param({"proxy-body-size": "0"}, {}, True, NGINX | {"body_limit_bytes": 0}, [], id="176"),
        ({"proxy-body-size": "8m"}, {}, False, {"body_limit_bytes": 8 << 20}, []),
        ({}, {"proxy-body-size": "2m"}, False, {"body_limit_bytes": 2 << 20}, []),
        ({"proxy-body-size": "3m"}, {"proxy-body-size": "2m"}, True, NGINX | {"body_limit_bytes": 3 << 20}, []),
        pytest.param({"proxy-body-size": "15r"}, {}, True, NGINX, ["proxy-body-size"], id="177"),
        pytest.param({"proxy-request-buffering": "off"}, {}, True, NGINX | {"request_buffering": False}, [], id="186"),
        pytest.param({"proxy-buffering": "on"}, {}, True, NGINX | {"response_buffering": True}, [], id="187"),
        ({}, {"proxy-buffering": "on"}, False, {"response_buffering": True}, []),
        ({"proxy-buffering": "sometimes"}, {}, False, {}, ["proxy-buffering"]),
    ],
)
def test_bodies(
    annotations: dict[str, str], config: dict[str, str], compat: bool, wanted: dict[str, Any], problems: list[str]
) -> None:
    wishes, found = read(upstream, annotations, config, compat=compat)
    assert (wishes.options, found) == (wanted, problems)


@pytest.mark.parametrize(
    ("annotations", "config", "wanted", "problems"),
    [
        ({}, {}, {}, []),
        pytest.param(
            {"proxy-connect-timeout": "7", "proxy-send-timeout": "20", "proxy-read-timeout": "30"},
            {},
            {"connect_seconds": 7.0, "send_seconds": 20.0, "read_seconds": 30.0},
            [],
            id="178",
        ),
        pytest.param({"proxy-read-timeout": "50k"}, {}, {}, ["proxy-read-timeout"], id="178"),
        ({"proxy-read-timeout": "0"}, {}, {}, ["proxy-read-timeout"]),
        ({}, {"proxy-read-timeout": "11"}, {}, []),
        ({"proxy-read-timeout": "60"}, {"proxy-read-timeout": "11"}, {"read_seconds": 60.0}, []),
        pytest.param({"proxy-next-upstream": "off"}, {}, {"retry_on": ("off",)}, [], id="184"),
        pytest.param(
            {"proxy-next-upstream": "error http_502 non_idempotent"},
            {},
            {"retry_on": ("error", "http_502", "non_idempotent")},
            [],
            id="182",
        ),
        ({"proxy-next-upstream": "error off"}, {}, {}, ["proxy-next-upstream"]),
        ({"proxy-next-upstream": "http_418"}, {}, {}, ["proxy-next-upstream"]),
        ({}, {"retry-non-idempotent": "true"}, {}, []),
        (
            {"proxy-next-upstream": "error"},
            {"retry-non-idempotent": "true"},
            {"retry_on": ("error", "non_idempotent")},
            [],
        ),
        ({"proxy-next-upstream": "off"}, {"retry-non-idempotent": "true"}, {"retry_on": ("off",)}, []),
        ({"proxy-next-upstream-tries": "5"}, {}, {"attempts": 5}, []),
        ({"proxy-next-upstream-tries": "0"}, {}, {"attempts": 8}, []),
        ({"proxy-next-upstream-timeout": "9"}, {}, {"retry_seconds": 9.0}, []),
        ({"proxy-buffer-size": "16k", "proxy-buffers-number": "8", "client-body-buffer-size": "1m"}, {}, {}, []),
        ({"proxy-buffer-size": "128k"}, {}, {}, ["proxy-buffer-size"]),
        ({"proxy-http-version": "1.0"}, {}, {}, ["proxy-http-version"]),
        ({"load-balance": "ewma"}, {}, {"algorithm": "ewma"}, []),
        ({"load-balance": "random"}, {}, {}, ["load-balance"]),
        ({}, {"load-balance": "ewma"}, {}, []),
        ({"load-balance": "round_robin"}, {"load-balance": "ewma"}, {"algorithm": "round_robin"}, []),
    ],
)
def test_backends(
    annotations: dict[str, str], config: dict[str, str], wanted: dict[str, Any], problems: list[str]
) -> None:
    wishes, found = read(upstream, annotations, config)
    assert (wishes.backend, found) == (wanted, problems)


RING = {"algorithm": "ring", "load_bound": 0.0}


@pytest.mark.parametrize(
    ("annotations", "backend", "filters", "problems"),
    [
        ({"upstream-hash-by": "$request_uri"}, RING | {"hash_by": "uri"}, {}, []),
        ({"upstream-hash-by": "${binary_remote_addr}"}, RING | {"hash_by": "client"}, {}, []),
        ({"upstream-hash-by": "$http_x_user", "load-balance": "ewma"}, RING | {"hash_by": "header:x-user"}, {}, []),
        ({"upstream-hash-by": "$cookie_id"}, RING | {"hash_by": "cookie:id"}, {}, []),
        (
            {"upstream-hash-by": "$host$uri"},
            RING | {"hash_by": "filter"},
            {"hash": HashSpecification("$host$uri")},
            [],
        ),
        (
            {"upstream-hash-by": "$uri", "upstream-hash-by-subset": "true", "upstream-hash-by-subset-size": "2"},
            {},
            {"hash": HashSpecification("$uri", 2)},
            [],
        ),
        ({"upstream-hash-by": "$nonsense"}, {}, {}, ["upstream-hash-by"]),
    ],
)
def test_hashes(
    annotations: dict[str, str], backend: dict[str, Any], filters: dict[str, Any], problems: list[str]
) -> None:
    wishes, found = read(upstream, annotations)
    assert (wishes.backend, wishes.filters, found) == (backend, filters, problems)


@pytest.mark.parametrize(
    ("annotations", "config", "wanted"),
    [({}, {}, False), ({}, {"service-upstream": "true"}, True), ({"service-upstream": "true"}, {}, True)],
)
def test_200_the_service_itself(annotations: dict[str, str], config: dict[str, str], wanted: bool) -> None:
    assert read(upstream, annotations, config)[0].service_upstream is wanted


def test_200_an_annotation_beats_the_config_map() -> None:
    assert not read(upstream, {"service-upstream": "false"}, {"service-upstream": "true"})[0].service_upstream
