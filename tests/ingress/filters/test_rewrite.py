"""Other paths for endpoints."""

import pytest

from ingress.filters.api import Reply
from ingress.filters.rewrite import Rewrite, RewriteSpecification
from tests.ingress.filters.asked import Asked, Desk


def rewritten(target: str, asked: Asked, prefix: str = "") -> str:
    assert Rewrite(RewriteSpecification(target, prefix), Desk()).request(asked) is None
    return asked.upstream_target


@pytest.mark.parametrize(
    ("target", "asked", "wanted"),
    [
        ("/new", Asked("/old/x"), "/new"),
        ("/new", Asked("/old?x=1&y"), "/new?x=1&y"),
        ("/$2", Asked("/a/b", captures=("/a/b", "/", "b")), "/b"),
        ("/$2", Asked("/a", captures=("/a", "", None)), "/"),
        ("$1", Asked("/a", captures=("/a", "a")), "/a"),
        ("/$1", Asked("/a%20b%3f", captures=("/a b?", "a b?")), "/a%20b%3F"),
        ("/$1", Asked("/x", captures=("", "\u00e9\udcff\r\n")), "/%C3%A9%FF%0D%0A"),
        ("/$1/%", Asked("/x", captures=("", "a@b:c;d,e")), "/a@b:c;d,e/%25"),
        ("/$host", Asked("/x"), "/shop.example.com"),
        ("/n?k=$1", Asked("/x?a=b", captures=("", "v w")), "/n?k=v%20w&a=b"),
        ("/n?k=1", Asked("/x"), "/n?k=1"),
        ("/n?", Asked("/x?a=b"), "/n"),
        ("/same", Asked("/same/y", rule_path="/same"), "/same/y"),
    ],
)
def test_targets(target: str, asked: Asked, wanted: str) -> None:
    assert rewritten(target, asked) == wanted


@pytest.mark.parametrize(("rule", "wanted"), [("/old", "/shop"), ("/new", None)])
def test_the_prefix_is_told_only_of_what_is_rewritten(rule: str, wanted: str | None) -> None:
    asked = Asked("/old", rule_path=rule, headers=(("X-Forwarded-Prefix", "/forged"),) if wanted else ())
    rewritten("/new", asked, "/shop")
    assert asked.field("X-Forwarded-Prefix") == wanted


def test_a_whole_url_is_a_redirect() -> None:
    asked = Asked("/x?q", captures=("", "a b\r\n"))
    found = Rewrite(RewriteSpecification("https://example.com/$1"), Desk()).request(asked)
    assert found == Reply(302, (("Location", "https://example.com/a%20b%0D%0A?q"),))
