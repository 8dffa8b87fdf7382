"""Label selectors as flags have them."""

import pytest

from ingress.routes.selectors import fits, read_selector


@pytest.mark.parametrize(
    ("text", "labels", "fit"),
    [
        ("", {}, True),
        ("team=shop", {"team": "shop"}, True),
        ("team==shop", {"team": "cart"}, False),
        ("team!=shop", {}, True),
        ("team!=shop", {"team": "shop"}, False),
        ("example.com/team", {"example.com/team": ""}, True),
        ("!team", {"team": "x"}, False),
        ("env in (a, b), team", {"env": "b", "team": "x"}, True),
        ("env in (a, b), team", {"env": "c", "team": "x"}, False),
        ("env notin (a)", {}, True),
        ("env notin (a)", {"env": "a"}, False),
    ],
)
def test_selectors(text: str, labels: dict[str, str], fit: bool) -> None:
    assert fits(read_selector(text), labels) is fit


@pytest.mark.parametrize("text", ["a in b", "=b", "a,,b", "a b", "a=(b)"])
def test_what_is_no_selector(text: str) -> None:
    with pytest.raises(ValueError, match="is not a label selector"):
        read_selector(text)
