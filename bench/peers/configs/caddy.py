"""Caddy's configuration in its native JSON."""

import json
from typing import Any

from bench.peers.configs import Place
from bench.peers.work import Work


def config(work: Work, place: Place) -> str:
    server: dict[str, Any] = {
        "listen": [f"127.0.0.1:{place.port}"],
        "protocols": ["h1"],
        "automatic_https": {"disable": True},
        "routes": [
            *(
                {
                    "match": [{"host": [host]}],
                    "handle": [{"handler": "subroute", "routes": [_route(prefix, work, place) for prefix in prefixes]}],
                    "terminal": True,
                }
                for host in work.host_names()
                # The first that matches is taken: the longest first.
                for prefixes in [sorted(work.prefixes, key=len, reverse=True)]
            ),
            {"handle": [{"handler": "static_response", "status_code": 404}]},
        ],
        "logs": {},
    }
    apps: dict[str, Any] = {"http": {"servers": {"in": server}}}
    if work.tls:
        server["tls_connection_policies"] = [{"protocol_min": "tls1.3"}]
        apps["tls"] = {
            "certificates": {"load_files": [{"certificate": place.certificate, "key": place.key}]},
        }
    log = {"writer": {"output": "file", "filename": f"{place.folder}/access.log", "roll": False}}
    access = {**log, "include": ["http.log.access"]}
    rest = {"exclude": ["http.log.access"], "level": "WARN"}
    return json.dumps(
        {"admin": {"disabled": True}, "logging": {"logs": {"access": access, "default": rest}}, "apps": apps}
    )


def _route(prefix: str, work: Work, place: Place) -> dict[str, Any]:
    scheme = "https" if work.tls else "http"
    fields = {
        "X-Forwarded-Port": [str(place.port)],
        "X-Forwarded-Scheme": [scheme],
        "X-Real-IP": ["{http.request.remote.host}"],
        "X-Request-ID": ["{http.request.uuid}"],
        "X-Scheme": [scheme],
    }
    return {
        "match": [{"path": [f"{prefix}*"]}],
        "handle": [
            {
                "handler": "reverse_proxy",
                "upstreams": [{"dial": f"127.0.0.1:{place.endpoint_port}"}],
                "headers": {"request": {"set": fields}},
                "transport": {
                    "protocol": "http",
                    "compression": False,
                    "keep_alive": {"max_idle_conns": 320, "max_idle_conns_per_host": 320},
                },
            }
        ],
        "terminal": True,
    }
