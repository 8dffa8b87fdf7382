"""Patterns from outside, and lists of texts and patterns."""

import time

import pytest

from ingress.filters.patterns import Listed, compile_pattern


def test_patterns_match_as_usual() -> None:
    pattern = compile_pattern(r"^/id/([0-9]+)")
    assert pattern.search("/id/12a").group(1) == "12"
    assert pattern.fullmatch("/id/12a") is None
    assert compile_pattern("ab", any_case=True).fullmatch("aB")
    assert not compile_pattern("ab").fullmatch("aB")


@pytest.mark.parametrize("text", ["(", "[a", "(?=x)", r"(a)\1", "a{99999}"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="RE2"):
        compile_pattern(text)


def test_no_pattern_takes_long() -> None:
    began = time.process_time()
    assert compile_pattern("(a+)+$").search("a" * 5000 + "b") is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AlphaBot", True),
        ("alphabot", True),
        ("AlphaBot/2", False),
        ("Mozilla Chrome/68.0 Safari", True),
        ("xCurlx", True),
        ("xcurlx", False),
        ("", False),
    ],
)
def test_lists_of_texts_and_patterns(text: str, found: bool) -> None:
    assert (text in Listed(["AlphaBot", r"~*chrome\/68\.0\ safari", "~Curl"])) is found
