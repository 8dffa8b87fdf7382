"""Templates of nginx's variables."""

import pytest

from ingress.filters.api import Request
from ingress.filters.variables import Template, for_field
from tests.ingress.filters.asked import Asked

REQUEST = Asked(
    target="/a%20b/c?x=1&Y=two&x=3",
    path="/a b/c",
    method="POST",
    host="shop.example.com",
    authority="shop.example.com:8080",
    headers=(("X-Role", "buyer"), ("Cookie", "theme=dark; id=7"), ("Content-Type", "text/css")),
    secure=True,
    port=8443,
    client="198.51.100.9",
    peer="10.0.0.3",
    captures=("/a b/c", "a b", None),
    server_name="shop.example.com",
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("plain", "plain"),
        ("https://$host$request_uri", "https://shop.example.com/a%20b/c?x=1&Y=two&x=3"),
        ("$scheme://$best_http_host:$pass_server_port", "https://shop.example.com:8080:8443"),
        ("${host}x$host", "shop.example.comxshop.example.com"),
        ("$uri$is_args$args", "/a b/c?x=1&Y=two&x=3"),
        ("$query_string|$request_method", "x=1&Y=two&x=3|POST"),
        ("$arg_x-$arg_y-$arg_Y-$arg_none", "1-two-two-"),
        ("$http_x_role $http_none.", "buyer ."),
        ("$cookie_theme$cookie_id$cookie_none", "dark7"),
        ("$remote_addr $realip_remote_addr $the_real_ip", "198.51.100.9 10.0.0.3 198.51.100.9"),
        ("/new/$1$2$3", "/new/a b"),
        ("$10", "a b0"),
        ("$escaped_request_uri", "%2Fa%2520b%2Fc%3Fx%3D1%26Y%3Dtwo%26x%3D3"),
        ("$namespace/$ingress_name $service_name:$service_port $location_path", "shop/web cart:80 /"),
        ("$content_type, $content_length.", "text/css, ."),
        ("$https $ssl_server_name $server_protocol", "on shop.example.com HTTP/1.1"),
        ("$request_id", REQUEST.id),
    ],
)
def test_text_is_rendered(text: str, wanted: str) -> None:
    assert Template.parse(text).render(REQUEST) == wanted


@pytest.mark.parametrize("text", ["$nonsense", "$", "100$ and more", "${}", "${host", "$http_", "$0", "a$-b"])
def test_unknown_variables_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="variable"):
        Template.parse(text)


def test_values_may_be_changed_but_not_the_text() -> None:
    assert Template.parse("a/$1").render(REQUEST, lambda value: value.replace(" ", "+")) == "a/a+b"


def test_everything_is_latin_1() -> None:
    request = Asked(path="/caf\u00e9\udcff", captures=("", "\u20ac"))
    assert Template.parse("\u00fc$uri $1").render(request).encode("latin-1") == b"\xc3\xbc/caf\xc3\xa9\xff \xe2\x82\xac"


@pytest.mark.parametrize(("value", "wanted"), [("plain\tx", "plain\tx"), ("a\r\nb", "ab"), ("\0\x7f", "")])
def test_no_field_gets_line_ends(value: str, wanted: str) -> None:
    assert for_field(value) == wanted


def test_what_is_constant() -> None:
    assert Template.parse("/foo").constant
    assert not Template.parse("/$1").constant
    assert Template.parse("$host$1").names == ("host", "1")


def test_labels_may_be_missing() -> None:
    request: Request = Asked(labels=("shop",))
    assert Template.parse("$namespace/$service_name").render(request) == "shop/"
