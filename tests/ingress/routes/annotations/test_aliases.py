"""More names for the hosts of the rules."""

import pytest

from ingress.routes.annotations import aliases
from tests.ingress.routes.annotations.reading import read


@pytest.mark.parametrize(
    ("text", "names", "reported"),
    [
        ("", (), 0),
        ("b.example", ("b.example",), 0),
        (" B.example ,, *.c.example,b.example", ("b.example", "*.c.example"), 0),
        ("~^www\\d+\\.example$, b.example", ("b.example",), 1),
        ("a b, -x, http://y", (), 1),
    ],
)
def test_250_names(text: str, names: tuple[str, ...], reported: int) -> None:
    wishes, problems = read(aliases, {"server-alias": text})
    assert wishes.aliases == names
    assert bool(problems) is bool(reported)
