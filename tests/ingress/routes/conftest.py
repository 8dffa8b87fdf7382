"""An annotation that says what to wish, for tests of what is made of wishes."""

import json
from types import SimpleNamespace

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


@pytest.fixture
def wishing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotation causeway.dev/wishes: Wishes in JSON. No other annotation is known."""
    group = SimpleNamespace(NAMES={NAME: Risk.LOW}, CONFIG=frozenset(), read=read)
    monkeypatch.setattr(annotations, "GROUPS", (group,))
    monkeypatch.setattr(annotations, "KNOWN", frozenset({NAME, "strict"}))
