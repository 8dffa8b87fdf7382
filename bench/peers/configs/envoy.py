"""Envoy's static bootstrap, as JSON (which it reads as YAML)."""

import json
from typing import Any

from bench.peers.configs import Place
from bench.peers.work import Work

_TYPE = "type.googleapis.com/envoy"
_HTTP = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = f"{_TYPE}.extensions.filters.http.router.v3.Router"
_FILE_LOG = f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog"
_TLS = f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def config(work: Work, place: Place) -> str:
    chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": _connections(work, place)}]}
    if work.tls:
        chain["transport_socket"] = {"name": "tls", "typed_config": _tls(place)}
    listener = {
        "name": "in",
        "address": _address(place.port),
        "tcp_backlog_size": 8192,
        "filter_chains": [chain],
    }
    cluster = {
        "name": "endpoint",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "endpoint",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(place.endpoint_port)}}]}],
        },
        "circuit_breakers": {"thresholds": [{"max_connections": 16384, "max_requests": 16384}]},
    }
    return json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _tls(place: Place) -> dict[str, Any]:
    certificate = {"certificate_chain": {"filename": place.certificate}, "private_key": {"filename": place.key}}
    return {
        "@type": _TLS,
        "common_tls_context": {
            "tls_certificates": [certificate],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"},
        },
    }


def _connections(work: Work, place: Place) -> dict[str, Any]:
    fields = {
        # For a client on loopback it would name this machine's address.
        "X-Forwarded-For": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "X-Forwarded-Host": "%REQ(:AUTHORITY)%",
        "X-Forwarded-Port": "%DOWNSTREAM_LOCAL_PORT%",
        "X-Forwarded-Scheme": "%REQ(:SCHEME)%",
        "X-Real-IP": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "X-Scheme": "%REQ(:SCHEME)%",
    }
    # The first that matches is taken: the longest first.
    routes = [
        {"match": {"prefix": prefix}, "route": {"cluster": "endpoint", "timeout": "0s"}}
        for prefix in sorted(work.prefixes, key=len, reverse=True)
    ]
    hosts = [{"name": host, "domains": [host, f"{host}:*"], "routes": routes} for host in work.host_names()]
    return {
        "@type": _HTTP,
        "stat_prefix": "in",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "access_log": [
            {"name": "file", "typed_config": {"@type": _FILE_LOG, "path": f"{place.folder}/access.log"}},
        ],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
        "route_config": {
            "virtual_hosts": hosts,
            "request_headers_to_add": [
                {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
                for name, value in fields.items()
            ],
        },
    }
