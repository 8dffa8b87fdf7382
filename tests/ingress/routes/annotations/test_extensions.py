"""Filters of other packages: which are asked for, and what closes."""

import msgspec
import pytest

from ingress.routes.annotations import extensions
from ingress.routes.annotations.reader import Reader
from ingress.routes.annotations.wishes import Wishes
from ingress.routes.treatment import filter_lines
from tests.ingress.state import ingress


class Options(msgspec.Struct, frozen=True):
    word: str = "x"


def read(**annotations: str) -> tuple[Wishes, list[str]]:
    written = {f"causeway.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    found = ingress("web", {"a.example": [("/", "Prefix", "x")]}, annotations=written)
    reader = Reader(found, {}, lambda kind, namespace, name: None, extensions={"one": Options, "two": Options})
    wishes = Wishes()
    extensions.read(reader, wishes)
    return wishes, [each.field[len("metadata.annotations[causeway.dev/") : -1] for each in reader.problems]


def test_those_named_in_their_order_after_who_may_pass() -> None:
    wishes, problems = read(filters="two, one", filter_options='{"one": {"word": "y"}}')
    assert problems == []
    assert wishes.filters == {"extension:two": Options(), "extension:one": Options("y")}
    lines = filter_lines({**wishes.filters, "rewrite": Options(), "access": Options()})
    assert [name for name, _ in lines] == ["access", "extension:two", "extension:one", "rewrite"]


@pytest.mark.parametrize(
    ("filters", "options", "reported"),
    [
        ("three", "", "filters"),
        ("one,three", "", "filters"),
        ("one", "{", "filter-options"),
        ("one", "[]", "filter-options"),
        ("one", '{"one": {"word": 5}}', "filter-options"),
        ("one", '{"one": 5}', "filter-options"),
    ],
)
def test_what_cannot_be_had_closes(filters: str, options: str, reported: str) -> None:
    wishes, problems = read(filters=filters, filter_options=options)
    assert problems == [reported]
    assert wishes.closed


def test_options_of_nobody_are_reported() -> None:
    wishes, problems = read(filters="one", filter_options='{"two": {}}')
    assert (problems, wishes.closed) == (["filter-options"], "")
    assert read() == (Wishes(), [])
