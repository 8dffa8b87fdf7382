"""Fields with variables, and cookies of endpoints."""

import pytest

from ingress.filters.cookies import Cookies, CookiesSpecification
from ingress.filters.headers import Headers, HeadersSpecification
from ingress.filters.uncompressed import Uncompressed, UncompressedSpecification
from ingress.filters.unlogged import Unlogged, UnloggedSpecification
from tests.ingress.filters.asked import Answered, Asked, Desk


def test_fields_with_variables() -> None:
    asked = Asked("/a?b=1", headers=(("X-Gone", "x"),), captures=("", "x\r\nSet-Cookie: y"))
    specification = HeadersSpecification(
        request=(("Host", "in.$host"), ("X-Gone", "$arg_none"), ("X-Path", "$request_uri")),
        response=(("X-Who", "$remote_addr"), ("X-None", "$arg_none"), ("X-Cap", "$1")),
    )
    Headers(specification, Desk()).request(asked)
    assert asked.sent == [("Host", "in.shop.example.com"), ("X-Path", "/a?b=1")]
    assert asked.told((("x-none", "of the endpoint"),)) == (("X-Who", "192.0.2.7"), ("X-Cap", "xSet-Cookie: y"))


@pytest.mark.parametrize(
    ("domain", "path", "before", "after"),
    [
        (("localhost", "a.example"), None, "k=v; Domain=.LocalHost; Path=/", "k=v; Domain=a.example; Path=/"),
        (("localhost", "a.example"), None, "k=v; Domain=xlocalhost", None),
        (None, ("/one/", "/"), "k=v; path=/one/two; HttpOnly", "k=v; path=/two; HttpOnly"),
        (None, ("/one/", "/"), "k=v; path=/on", None),
        (None, ("/one/", "/"), "path=/one/", None),
        (("x", "$host"), ("/", "/in/"), "k=v;Domain=x;Path=/", "k=v;Domain=shop.example.com;Path=/in/"),
        (("x", "y"), ("/", "/in/"), "k=v; Secure", None),
        (("~\\.(shop\\.[a-z]+)$", "$1"), None, "k=v; Domain=a.SHOP.test", "k=v; Domain=SHOP.test"),
        (("~x", "y"), None, "k=v; Domain=a.shop.test", None),
        (None, ("~^/(?P<area>[^/]+)/one", "/${area}-$2$host/"), "k=v; Path=/a/one/z", "k=v; Path=/a-shop.example.com/"),
        (None, ("~^/A", "/b"), "k=v; Path=/a", None),
        (None, ("~*^/A", "/b"), "k=v; Path=/a", "k=v; Path=/b"),
    ],
)
def test_cookies(domain: tuple[str, str] | None, path: tuple[str, str] | None, before: str, after: str | None) -> None:
    asked = Asked()
    other = ("Set-Cookie", "other=1")
    Cookies(CookiesSpecification(domain, path), Desk()).response(asked, Answered(200, (("set-cookie", before), other)))
    assert bool(asked.edits) is (after is not None)
    if after is not None:
        assert asked.told((("set-cookie", before), other)) == (("Set-Cookie", after), other)


@pytest.mark.parametrize(("target", "logged"), [("/healthz", False), ("/healthz?x", True), ("/a/tick", False)])
def test_what_is_not_worth_a_line(target: str, logged: bool) -> None:
    asked = Asked(target)
    Unlogged(UnloggedSpecification(("/healthz", "~tick$")), Desk()).request(asked)
    assert asked.log is logged


@pytest.mark.parametrize(
    ("agent", "plain"), [("x MSIE 6.0", True), ("x msie 5.5", True), ("MSIE 7.0", False), ("", False)]
)
def test_223_who_gets_responses_as_they_are(agent: str, plain: bool) -> None:
    asked = Asked(headers=(("User-Agent", agent),))
    Uncompressed(UncompressedSpecification((r"MSIE [4-6]\.",)), Desk()).request(asked)
    assert asked.compress is not plain
