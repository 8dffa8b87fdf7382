"""backend-protocol and proxy-ssl-* -> backends."""

from typing import Any

import pytest

from ingress.routes.annotations import upstream_tls
from lb.cluster.objects import Metadata, Secret
from tests.ingress.routes.annotations.reading import read


def secret(name: str, namespace: str = "shop", **data: str) -> Secret:
    found = {key.replace("_", "."): value for key, value in data.items()}
    return Secret(metadata=Metadata(name=name, namespace=namespace), string_data=found)


WHOLE = secret("whole", ca_crt="CA", tls_crt="CHAIN", tls_key="KEY")
ALL = {"ca_pem": b"CA", "certificate_pem": b"CHAIN", "key_pem": b"KEY"}
OBJECTS = (WHOLE, secret("ca", ca_crt="CA"), secret("half", ca_crt="CA", tls_crt="CHAIN"), secret("far", "other"))
HTTPS = {"backend-protocol": "HTTPS"}


@pytest.mark.parametrize(
    ("annotations", "tls", "problems"),
    [
        ({"backend-protocol": "http"}, None, []),
        ({"proxy-ssl-verify": "on"}, None, []),
        pytest.param({"backend-protocol": "https"}, {}, [], id="190"),
        (HTTPS | {"proxy-ssl-secret": "whole"}, ALL, []),
        (
            HTTPS | {"proxy-ssl-secret": "shop/ca", "proxy-ssl-verify": "on", "proxy-ssl-verify-depth": "2"},
            {"ca_pem": b"CA", "verify": True, "verify_depth": 2},
            [],
        ),
        (
            HTTPS | {"proxy-ssl-secret": "ca", "proxy-ssl-verify": "on", "proxy-ssl-name": "a.example"},
            {"ca_pem": b"CA", "verify": True, "server_name": "a.example"},
            [],
        ),
        (HTTPS | {"proxy-ssl-name": "a.example"}, {}, []),
        (HTTPS | {"proxy-ssl-name": "a.example", "proxy-ssl-server-name": "on"}, {"server_name": "a.example"}, []),
        (HTTPS | {"proxy-ssl-server-name": "on"}, {}, ["proxy-ssl-server-name"]),
        (HTTPS | {"proxy-ssl-name": "a b", "proxy-ssl-server-name": "off"}, {}, ["proxy-ssl-name"]),
        (HTTPS | {"proxy-ssl-verify": "on"}, {}, ["proxy-ssl-verify"]),
        (
            HTTPS | {"proxy-ssl-protocols": "TLSv1 TLSv1.3", "proxy-ssl-ciphers": "HIGH:!aNULL"},
            {"protocols": ("TLSv1.3",), "ciphers": "HIGH:!aNULL"},
            [],
        ),
        (HTTPS | {"proxy-ssl-protocols": "SSLv3", "proxy-ssl-ciphers": "DEFAULT"}, {}, ["proxy-ssl-protocols"]),
        ({"backend-protocol": "AUTO_HTTP"}, None, []),
        ({"backend-protocol": "GRPC"}, None, ["backend-protocol"]),
        ({"backend-protocol": "GRPCS"}, {}, ["backend-protocol"]),
        ({"backend-protocol": "AJP"}, None, ["backend-protocol"]),
    ],
)
def test_what_is_spoken(annotations: dict[str, str], tls: dict[str, Any] | None, problems: list[str]) -> None:
    wishes, found = read(upstream_tls, annotations, objects=OBJECTS)
    assert (wishes.backend.get("transport", {}).get("tls"), found, wishes.closed) == (tls, problems, "")


@pytest.mark.parametrize("name", ["nobody", "half", "other/far"])
def test_endpoints_are_not_asked_without_what_verifies_them(name: str) -> None:
    wishes, problems = read(upstream_tls, HTTPS | {"proxy-ssl-secret": name}, objects=OBJECTS)
    assert wishes.closed
    assert problems == ["proxy-ssl-secret"]


def test_fastcgi_is_not_spoken() -> None:
    wishes, problems = read(upstream_tls, {"backend-protocol": "fcgi"})
    assert wishes.closed
    assert problems == ["backend-protocol"]


def test_without_nginx_the_systems_authorities_count() -> None:
    wishes, problems = read(upstream_tls, HTTPS | {"proxy-ssl-verify": "on"}, compat=False)
    assert (wishes.backend["transport"], problems) == ({"tls": {"verify": True}}, [])
