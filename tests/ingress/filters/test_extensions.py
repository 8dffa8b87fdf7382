"""Filters of other packages: what is found, and what is not taken for one."""

import sys
from pathlib import Path

import pytest

from ingress.filters.extensions import GROUP, NotUsable, load, specifications
from ingress.filters.registry import Registry
from tests.ingress.filters.asked import Asked, Desk

CODE = """
import msgspec
from ingress.filters.api import Filter, Reply

class Options(msgspec.Struct, frozen=True):
    status: int = 418

class Teapot(Filter[Options]):
    name = "teapot"
    Specification = Options

    def request(self, request):
        return Reply(self.specification.status)

class Unspecified(Filter[Options]):
    name = "unspecified"

number = 5
"""
NAMES = {
    "teapot": "teapots:Teapot",
    "unspecified": "teapots:Unspecified",
    "number": "teapots:number",
    "absent": "teapots:Absent",
    "no-module": "there.is.none:Filter",
}


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution as pip leaves it."""
    (tmp_path / "teapots.py").write_text(CODE)
    told = tmp_path / "teapots-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: teapots\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in NAMES.items())
    (told / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "teapots", raising=False)


def test_it_is_found_and_made_as_any_other() -> None:
    assert list(specifications(("teapot",))) == ["teapot"]
    chain = Registry(Desk()).chain((("extension:teapot", b"\x81\xa6status\xcd\x01\x9b"),))
    assert chain.request(Asked()) == (411, (), None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("unknown", "there is: absent, no-module, number, teapot, unspecified"),
        ("../x", "no installed package"),
        ("unspecified", "has no Specification"),
        ("number", "no class derived from"),
        ("absent", "cannot be imported"),
        ("no-module", "cannot be imported"),
    ],
)
def test_what_is_not_one(name: str, said: str) -> None:
    with pytest.raises(NotUsable, match=said):
        load(name)


def test_a_route_with_one_that_is_gone_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no installed package"):
        Registry(Desk()).chain((("extension:unknown", b"\x80"),))
