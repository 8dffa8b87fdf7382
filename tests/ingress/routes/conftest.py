"""An annotation that says what to wish, for tests of what is made of wishes."""

import json
from collections.abc import Callable
from types import ModuleType

import msgspec
import pytest

from ingress.routes import annotations
from ingress.routes.annotations import Reader, Risk, Wishes

NAME = "wishes"


def read(reader: Reader, wishes: Wishes) -> None:
    if text := reader.text(NAME):
        found = msgspec.convert(json.loads(text), Wishes)
        for name in json.loads(text):
            setattr(wishes, name, getattr(found, name))


def only_group(
    monkeypatch: pytest.MonkeyPatch, names: dict[str, Risk], reads: Callable[[Reader, Wishes], None]
) -> None:
    """Make one group all there is."""
    group = ModuleType("group")
    group.__dict__.update(NAMES=names, CONFIG=frozenset(), read=reads)
    monkeypatch.setattr(annotations, "GROUPS", (group,))
    monkeypatch.setattr(annotations, "KNOWN", frozenset({*names, "strict"}))


@pytest.fixture
def wishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotation causeway.dev/wishes: Wishes in JSON. No other annotation is known."""
    only_group(monkeypatch, {NAME: Risk.LOW}, read)
