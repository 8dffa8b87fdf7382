"""Risk levels and forbidden words."""

import pytest

from ingress.routes.annotations import GROUPS, guard, read_annotations, refused
from ingress.routes.annotations.reader import PREFIXES
from ingress.routes.annotations.wishes import Risk
from tests.ingress.state import ingress

NGINX = PREFIXES[1]


def refusal(annotations: dict[str, str], config: dict[str, str]) -> tuple[str, list[str]]:
    found = ingress("web", {"a.example": [("/", "Prefix", "x")]}, annotations=annotations)
    wishes, problems, _ = read_annotations(found, config, lambda kind, namespace, name: None)
    return wishes.refused, [each.field for each in problems]


@pytest.mark.parametrize(
    ("level", "annotation", "served"),
    [
        ("Low", "enable-cors", True),
        ("Low", "cors-allow-methods", False),
        ("low", "rewrite-target", False),
        ("Medium", "rewrite-target", True),
        ("Low", "server-snippet", True),
        ("", "rewrite-target", True),
        ("Nonsense", "rewrite-target", True),
    ],
)
def test_253_annotations_above_the_level_are_refused(level: str, annotation: str, served: bool) -> None:
    values = {"enable-cors": "true", "cors-allow-methods": "GET", "rewrite-target": "/x", "server-snippet": "x"}
    found, fields = refusal({NGINX + annotation: values[annotation]}, {"annotations-risk-level": level})
    assert bool(found) is not served
    if not served:
        assert fields == [f"metadata.annotations[{NGINX}{annotation}]"]


@pytest.mark.parametrize(
    ("annotations", "served"),
    [
        ({NGINX + "rewrite-target": "/foo_by_lua"}, False),
        ({PREFIXES[0] + "rewrite-target": "/a{b"}, False),
        ({NGINX + "server-snippet": "x\nfoo_by_lua"}, False),
        ({NGINX + "rewrite-target": "/plain"}, True),
        ({"example.com/other": "foo_by_lua {"}, True),
    ],
)
def test_253_forbidden_words_are_refused(annotations: dict[str, str], served: bool) -> None:
    found, _ = refusal(annotations, {"annotation-value-word-blocklist": "_by_lua, {, ,"})
    assert bool(found) is not served


def test_every_annotation_has_one_owner() -> None:
    names = [name for group in GROUPS for name in group.NAMES]
    assert sorted(set(names)) == sorted(names)


def test_keys_of_the_guard_are_no_annotations() -> None:
    assert not guard.CONFIG & {name for group in GROUPS for name in group.NAMES}
    assert refused.NAMES["server-snippet"] is Risk.CRITICAL
