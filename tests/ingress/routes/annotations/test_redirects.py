"""Annotations of redirects -> filters."""

import pytest

from ingress.filters.https import HttpsSpecification
from ingress.filters.locations import LocationsSpecification
from ingress.filters.redirect import AppRootSpecification, RedirectSpecification
from ingress.routes.annotations import redirects
from ingress.routes.annotations.redirects import ACME
from tests.ingress.routes.annotations.reading import read

HTTPS = HttpsSpecification(plain_below=(ACME,))


@pytest.mark.parametrize(
    ("annotations", "config", "compat", "everywhere", "with_tls"),
    [
        ({}, {}, True, None, HTTPS),
        ({}, {}, False, None, None),
        ({"ssl-redirect": "false"}, {}, True, None, None),
        ({"ssl-redirect": "true"}, {}, False, None, HTTPS),
        ({"ssl-redirect": "true"}, {"ssl-redirect": "false"}, True, None, HTTPS),
        ({}, {"ssl-redirect": "false"}, True, None, None),
        ({"force-ssl-redirect": "true", "ssl-redirect": "false"}, {}, True, HTTPS, None),
        ({}, {"force-ssl-redirect": "true"}, False, HTTPS, None),
        ({"force-ssl-redirect": "false"}, {"force-ssl-redirect": "true", "ssl-redirect": "false"}, True, None, None),
        ({}, {"http-redirect-code": "301"}, True, None, HttpsSpecification(301, plain_below=(ACME,))),
        ({}, {"http-redirect-code": "303"}, True, None, HTTPS),
        ({}, {"no-tls-redirect-locations": "/a, /b"}, True, None, HttpsSpecification(plain_below=("/a", "/b"))),
        (
            {"preserve-trailing-slash": "true", "use-port-in-redirects": "true"},
            {},
            True,
            None,
            HttpsSpecification(keeps_slash=True, port=443, plain_below=(ACME,)),
        ),
    ],
)
def test_to_tls(
    annotations: dict[str, str], config: dict[str, str], compat: bool, everywhere: object, with_tls: object
) -> None:
    wishes, problems = read(redirects, annotations, config, compat=compat)
    assert (wishes.filters.get("https"), wishes.tls_filters.get("https"), problems) == (everywhere, with_tls, [])


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        ({"permanent-redirect": "https://b.example"}, RedirectSpecification("https://b.example", 301)),
        (
            {"permanent-redirect": "https://b.example", "permanent-redirect-code": "308"},
            RedirectSpecification("https://b.example", 308),
        ),
        ({"permanent-redirect": "/new", "relative-redirects": "true"}, RedirectSpecification("/new", relative=True)),
        ({"temporal-redirect": "http://b.example"}, RedirectSpecification("http://b.example", 302)),
        (
            {"temporal-redirect": "http://t.example", "temporal-redirect-code": "307", "permanent-redirect": "/p"},
            RedirectSpecification("http://t.example", 307),
        ),
    ],
)
def test_to_elsewhere(annotations: dict[str, str], wanted: RedirectSpecification) -> None:
    wishes, problems = read(redirects, annotations)
    assert (wishes.filters["redirect"], problems) == (wanted, [])


@pytest.mark.parametrize(
    ("annotations", "wanted", "reported"),
    [
        ({"permanent-redirect": "ftp://b.example"}, None, ["permanent-redirect"]),
        ({"permanent-redirect": "http://b.example/$nonsense"}, None, ["permanent-redirect"]),
        (
            {"temporal-redirect": "b.example", "permanent-redirect": "/p"},
            RedirectSpecification("/p", 301),
            ["temporal-redirect"],
        ),
        (
            {"permanent-redirect": "/p", "permanent-redirect-code": "404"},
            RedirectSpecification("/p", 301),
            ["permanent-redirect-code"],
        ),
        (
            {"temporal-redirect": "/p", "temporal-redirect-code": "308"},
            RedirectSpecification("/p", 302),
            ["temporal-redirect-code"],
        ),
    ],
)
def test_what_is_wrong_is_reported(annotations: dict[str, str], wanted: object, reported: list[str]) -> None:
    wishes, problems = read(redirects, annotations)
    assert (wishes.filters.get("redirect"), problems) == (wanted, reported)


def test_application_roots() -> None:
    assert read(redirects, {"app-root": "/app"})[0].filters["app-root"] == AppRootSpecification("/app")
    for wrong in ("http://b.example/", "/a b", "/$nonsense"):
        wishes, problems = read(redirects, {"app-root": wrong})
        assert "app-root" not in wishes.filters
        assert problems == ["app-root"]


def test_www() -> None:
    assert read(redirects, {"from-to-www-redirect": "true"})[0].www
    assert not read(redirects, {})[0].www


@pytest.mark.parametrize(
    ("annotations", "wanted"),
    [
        (
            {"proxy-redirect-from": "http://a/", "proxy-redirect-to": "/b/"},
            LocationsSpecification("http://a/", "/b/"),
        ),
        ({"proxy-redirect-from": "default", "proxy-redirect-to": "/b/"}, None),
        ({"proxy-redirect-from": "off"}, None),
        ({"proxy-redirect-from": "http://a/"}, None),
        ({"proxy-redirect-from": "http://a/", "proxy-redirect-to": "off"}, None),
    ],
)
def test_locations(annotations: dict[str, str], wanted: object) -> None:
    wishes, problems = read(redirects, annotations)
    assert (wishes.filters.get("locations"), problems) == (wanted, [])


def test_locations_of_the_operator() -> None:
    config = {"proxy-redirect-from": "http://$nonsense/", "proxy-redirect-to": "/"}
    assert "locations" not in read(redirects, {}, config)[0].filters
    _, problems = read(redirects, {"proxy-redirect-from": "$nonsense", "proxy-redirect-to": "/"})
    assert problems == ["proxy-redirect-from"]
