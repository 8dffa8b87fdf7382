"""rewrite-target and what goes with it."""

import pytest

from ingress.filters.rewrite import RewriteSpecification
from ingress.routes.annotations import rewrite
from tests.ingress.routes.annotations.reading import read


@pytest.mark.parametrize(
    ("annotations", "paths", "wanted", "pattern"),
    [
        ({}, ("/",), None, False),
        ({"use-regex": "true"}, ("/",), None, True),
        ({"rewrite-target": "/$2"}, ("/a(/|$)(.*)",), RewriteSpecification("/$2"), True),
        ({"rewrite-target": "/"}, ("/",), RewriteSpecification("/"), False),
        ({"rewrite-target": "/"}, ("/", "/a"), RewriteSpecification("/"), True),
        ({"rewrite-target": "/", "use-regex": "true"}, ("/",), RewriteSpecification("/"), True),
        ({"rewrite-target": "/x", "x-forwarded-prefix": "/p"}, ("/",), RewriteSpecification("/x", "/p"), True),
        ({"enable-rewrite-log": "true"}, ("/",), None, False),
    ],
)
def test_rewrites(annotations: dict[str, str], paths: tuple[str, ...], wanted: object, pattern: bool) -> None:
    wishes, problems = read(rewrite, annotations, paths=paths)
    assert (wishes.filters.get("rewrite"), wishes.pattern, problems) == (wanted, pattern, [])


@pytest.mark.parametrize(
    ("annotations", "rewritten", "reported"),
    [
        ({"rewrite-target": "/a b"}, False, ["rewrite-target"]),
        ({"rewrite-target": '/a";return 200'}, False, ["rewrite-target"]),
        ({"rewrite-target": "/$nonsense"}, False, ["rewrite-target"]),
        ({"rewrite-target": "/a", "x-forwarded-prefix": "a b"}, True, ["x-forwarded-prefix"]),
        ({"x-forwarded-prefix": "/a"}, False, ["x-forwarded-prefix"]),
    ],
)
def test_what_is_wrong_is_reported(annotations: dict[str, str], rewritten: bool, reported: list[str]) -> None:
    wishes, problems = read(rewrite, annotations)
    assert (wishes.pattern, problems) == (rewritten, reported)
