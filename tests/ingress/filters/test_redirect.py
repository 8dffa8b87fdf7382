"""Answers that name another address."""

import pytest

from ingress.filters.api import Reply
from ingress.filters.https import Https, HttpsSpecification
from ingress.filters.locations import Locations, LocationsSpecification
from ingress.filters.origin import host_of
from ingress.filters.redirect import (
    AppRoot,
    AppRootSpecification,
    Redirect,
    RedirectSpecification,
    Slash,
    SlashSpecification,
    Www,
    WwwSpecification,
)
from tests.ingress.filters.asked import Answered, Asked, Desk

SECURE = {"secure": True, "port": 443}


def to(status: int, location: str) -> Reply:
    return Reply(status, (("Location", location),))


@pytest.mark.parametrize(
    ("specification", "asked", "wanted"),
    [
        (HttpsSpecification(), Asked("/"), "https://shop.example.com"),
        (HttpsSpecification(), Asked("/a//?b=c/"), "https://shop.example.com/a//?b=c"),
        (HttpsSpecification(), Asked("/a//"), "https://shop.example.com/a/"),
        (HttpsSpecification(keeps_slash=True), Asked("/"), "https://shop.example.com/"),
        (HttpsSpecification(), Asked("/x", authority="Shop.example.com:8080"), "https://Shop.example.com/x"),
        (HttpsSpecification(), Asked("/x", authority="[2001:db8::1]:80"), "https://[2001:db8::1]/x"),
        (HttpsSpecification(port=443), Asked("/x"), "https://shop.example.com:443/x"),
        (HttpsSpecification(plain_below=("/acme",)), Asked("/x"), "https://shop.example.com/x"),
        (HttpsSpecification(plain_below=("/acme",)), Asked("/acme/x"), None),
    ],
)
def test_to_tls(specification: HttpsSpecification, asked: Asked, wanted: str | None) -> None:
    found = Https(specification, Desk()).request(asked)
    assert found == (to(308, wanted) if wanted else None)


@pytest.mark.parametrize(
    ("authority", "wanted"), [("a:80", "a"), ("[::1]", "[::1]"), ("[::1]:8", "[::1]"), ("A.b", "A.b")]
)
def test_hosts_without_port(authority: str, wanted: str) -> None:
    assert host_of(Asked(authority=authority)) == wanted


@pytest.mark.parametrize(
    ("specification", "asked", "wanted"),
    [
        (RedirectSpecification("https://b.example/x"), Asked("/y?z"), to(301, "https://b.example/x")),
        (RedirectSpecification("https://b.example$request_uri"), Asked("/y?z"), to(301, "https://b.example/y?z")),
        (RedirectSpecification("/new", 308), Asked("/y"), to(308, "http://shop.example.com/new")),
        (RedirectSpecification("/new"), Asked("/y", secure=True, port=8443), to(301, "https://shop.example.com/new")),
        (
            RedirectSpecification("/new", with_port=True),
            Asked("/y", port=8080),
            to(301, "http://shop.example.com:8080/new"),
        ),
        (RedirectSpecification("/new", with_port=True), Asked("/y"), to(301, "http://shop.example.com/new")),
        (RedirectSpecification("/new", relative=True), Asked("/y"), to(301, "/new")),
        (RedirectSpecification("/$1"), Asked("/y", captures=("", "a\r\nb")), to(301, "http://shop.example.com/ab")),
    ],
)
def test_to_elsewhere(specification: RedirectSpecification, asked: Asked, wanted: Reply) -> None:
    assert Redirect(specification, Desk()).request(asked) == wanted


def test_the_root_of_an_application() -> None:
    root = AppRoot(AppRootSpecification("/app"), Desk())
    assert root.request(Asked("/x")) is None
    assert root.request(Asked("/?x", authority="shop.example.com:81")) == to(302, "http://shop.example.com:81/app")


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (Asked("/foo?x"), "http://shop.example:80/foo?x"),
        (Asked("/", secure=True, port=443), "https://shop.example:443"),
    ],
)
def test_www(asked: Asked, wanted: str) -> None:
    assert Www(WwwSpecification("shop.example"), Desk()).request(asked) == to(308, wanted)


def test_a_slash_is_added_before_the_query() -> None:
    slash = Slash(SlashSpecification(), Desk())
    assert slash.request(Asked("/a?b")) == to(301, "http://shop.example.com/a/?b")


@pytest.mark.parametrize(
    ("begins", "becomes", "location", "wanted"),
    [
        ("http://a/", "http://b/", "http://a/x", "http://b/x"),
        ("http://a/", "http://b/", "http://ab/x", None),
        ("http://a/", "/in/", "http://a/x", "http://shop.example.com/in/x"),
        ("~^http://a(:[0-9]+)?/(.*)$", "https://b/$2?$1", "http://a:8/x", "https://b/x?:8"),
        ("~^http://A/", "/x", "http://a/x", None),
        ("~*^http://A/", "/in", "http://a/x", "http://shop.example.com/in"),
        ("http://$host/", "https://$host:8/", "http://shop.example.com/x", "https://shop.example.com:8/x"),
    ],
)
def test_what_endpoints_write_into_location(begins: str, becomes: str, location: str, wanted: str | None) -> None:
    asked = Asked()
    found = Locations(LocationsSpecification(begins, becomes), Desk())
    found.response(asked, Answered(302, (("location", location), ("refresh", f"5; URL={location}"))))
    assert asked.told() == ((("Location", wanted), ("Refresh", f"5; URL={wanted}")) if wanted else ())


def test_our_own_locations_are_left_alone() -> None:
    asked = Asked()
    found = Locations(LocationsSpecification("http://a/", "/", relative=True), Desk())
    found.response(asked, Answered(302, (("Location", "http://a/x"),), own=True))
    assert asked.told() == ()
    found.response(asked, Answered(302, (("Location", "http://a/x"),)))
    assert asked.told() == (("Location", "/x"),)
