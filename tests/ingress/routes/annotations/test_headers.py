"""Fields that routes add, replace and take out."""

from typing import Any

import pytest

from ingress.filters.cookies import CookiesSpecification
from ingress.filters.headers import HeadersSpecification
from ingress.filters.uncompressed import UncompressedSpecification
from ingress.routes.annotations import access_log, headers
from ingress.routes.annotations.wishes import Wishes
from tests.ingress.routes.annotations.reading import config_map, read

ADDED = config_map("ops", "added", {"X-Plain": "1", "X-Who": "$remote_addr", "X-Bad": "$nonsense", "a b": "x"})
SENT = config_map("ops", "sent", {"X-Plain": "2", "X-Host": "$host", "Accept-Encoding": ""})
OWN = config_map("shop", "own", {"X-One": "1", "X-Addr": "$remote_addr"})


def options(config: dict[str, str], *, compat: bool = False, annotations: dict[str, str] | None = None) -> Any:
    wishes, problems = read(headers, annotations or {}, config, objects=(ADDED, SENT, OWN), compat=compat)
    assert not problems
    return wishes.options


@pytest.mark.parametrize(
    ("config", "value"),
    [
        ({}, "max-age=31536000; includeSubDomains"),
        ({"hsts-max-age": "86400"}, "max-age=86400; includeSubDomains"),
        ({"hsts-max-age": "5", "hsts-include-subdomains": "false"}, "max-age=5"),
        ({"hsts-include-subdomains": "false", "hsts-preload": "true"}, "max-age=31536000; preload"),
        ({"hsts": "false"}, None),
    ],
)
def test_strict_transport_security(config: dict[str, str], value: str | None) -> None:
    wanted = (("Strict-Transport-Security", value),) if value else None
    assert options(config, compat=True).get("response_set_secure") == wanted
    if "hsts" not in config:
        assert options({"hsts": "true", **config}).get("response_set_secure") == wanted
        assert "response_set_secure" not in options(config)


@pytest.mark.parametrize(
    ("config", "compat", "told", "removed"),
    [
        ({}, True, None, ("Server",)),
        ({}, False, None, None),
        ({"server-tokens": "true"}, True, (("Server", "causeway"),), None),
        ({"server-tokens": "false"}, False, None, ("Server",)),
        ({"allow-backend-server-header": "true"}, True, None, None),
    ],
)
def test_who_has_answered(config: dict[str, str], compat: bool, told: object, removed: object) -> None:
    found = options(config, compat=compat)
    assert (found.get("response_set"), found.get("response_remove")) == (told, removed)


def test_the_operators_fields() -> None:
    config = {"add-headers": "ops/added", "proxy-set-headers": "ops/sent", "hide-headers": "X-Powered-By, Via"}
    wishes, problems = read(headers, {}, config, objects=(ADDED, SENT), compat=False)
    assert not problems
    assert wishes.options == {
        "response_set": (("X-Plain", "1"),),
        "request_set": (("X-Plain", "2"),),
        "request_remove": ("Accept-Encoding",),
        "response_remove": ("X-Powered-By", "Via"),
    }
    assert wishes.filters == {
        "headers": HeadersSpecification(request=(("X-Host", "$host"),)),
        "told": HeadersSpecification(response=(("X-Who", "$remote_addr"),)),
    }


def test_a_map_of_the_operators_that_is_missing() -> None:
    assert options({"add-headers": "ops/none", "proxy-set-headers": "none"}) == {}


def test_custom_fields_are_literal() -> None:
    found = options({"global-allowed-response-headers": "x-one,X-Addr"}, annotations={"custom-headers": "own"})
    assert found == {"response_set": (("X-One", "1"), ("X-Addr", "$remote_addr"))}


@pytest.mark.parametrize("config", [{}, {"global-allowed-response-headers": "X-One"}])
@pytest.mark.parametrize("name", ["own", "none", "other/own"])
def test_custom_fields_that_are_wrong_close_the_ingress(name: str, config: dict[str, str]) -> None:
    wishes, problems = read(headers, {"custom-headers": name}, config, objects=(OWN,))
    assert wishes.closed
    assert problems == ["custom-headers"]


def test_what_endpoints_see() -> None:
    wishes, _ = read(headers, {"upstream-vhost": "in.example", "connection-proxy-header": "keep-alive"}, compat=False)
    assert wishes.options == {"request_set": (("Connection", "keep-alive"), ("Host", "in.example"))}
    assert read(headers, {"connection-proxy-header": "upgrade"})[1] == ["connection-proxy-header"]
    wishes, _ = read(headers, {"upstream-vhost": "in.$host"}, {"add-headers": "ops/added"}, objects=(ADDED,))
    assert wishes.filters["headers"] == HeadersSpecification((("Host", "in.$host"),))
    _, problems = read(headers, {"upstream-vhost": "in.$nonsense"})
    assert problems == ["upstream-vhost"]


@pytest.mark.parametrize(
    ("annotations", "config", "wanted", "reported"),
    [
        ({"proxy-cookie-domain": "a b"}, {}, CookiesSpecification(domain=("a", "b")), []),
        ({"proxy-cookie-path": "/a/  /"}, {}, CookiesSpecification(path=("/a/", "/")), []),
        ({}, {"proxy-cookie-path": "/a/ /"}, CookiesSpecification(path=("/a/", "/")), []),
        ({"proxy-cookie-path": "off"}, {"proxy-cookie-path": "/a/ /"}, None, []),
        ({"proxy-cookie-domain": "a"}, {}, None, ["proxy-cookie-domain"]),
        ({"proxy-cookie-domain": "~x(y) $1"}, {}, CookiesSpecification(domain=("~x(y)", "$1")), []),
        ({"proxy-cookie-domain": "~*x z"}, {}, None, ["proxy-cookie-domain"]),
        ({"proxy-cookie-domain": "~x(?=y) z"}, {}, None, ["proxy-cookie-domain"]),
        ({"proxy-cookie-domain": "x $nonsense"}, {}, None, ["proxy-cookie-domain"]),
    ],
)
def test_cookies(annotations: dict[str, str], config: dict[str, str], wanted: object, reported: list[str]) -> None:
    wishes, problems = read(headers, annotations, config)
    assert (wishes.filters.get("cookies"), problems) == (wanted, reported)


@pytest.mark.parametrize(
    ("config", "compress"),
    [({}, None), ({"use-gzip": "true"}, True), ({"use-gzip": "false"}, False), ({"enable-brotli": "true"}, True)],
)
def test_compression(config: dict[str, str], compress: bool | None) -> None:
    assert options(config).get("compress") is compress


def test_clients_that_get_responses_as_they_are() -> None:
    wishes, _ = read(headers, {}, {"use-gzip": "true", "gzip-disable": "msie6,old"})
    assert wishes.filters["uncompressed"] == UncompressedSpecification((r"MSIE [4-6]\.", "old"))
    assert read(headers, {}, {"use-gzip": "false", "gzip-disable": "msie6"})[0].filters == {}


@pytest.mark.parametrize(
    ("annotations", "config", "log", "targets"),
    [
        ({}, {}, True, None),
        ({"enable-access-log": "false"}, {}, False, None),
        ({"enable-access-log": "true"}, {"disable-access-log": "true"}, False, None),
        ({}, {"skip-access-log-urls": "/healthz, ~^/tick"}, True, ("/healthz", "~^/tick")),
    ],
)
def test_access_log(annotations: dict[str, str], config: dict[str, str], log: bool, targets: object) -> None:
    wishes, _ = read(access_log, annotations, config)
    assert wishes.options.get("log", True) is log
    found: Any = wishes.filters.get("unlogged")
    assert (found.targets if found else None) == targets


def test_text_that_is_not_ascii_goes_out_as_utf_8() -> None:
    wishes = Wishes()
    wishes.tell_client("X-Name", "caf\u00e9")
    assert wishes.options["response_set"][0][1].encode("latin-1") == "caf\u00e9".encode()
