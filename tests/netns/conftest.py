"""Fixtures of the tests with real packets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import NetNs
from tests.netns.lan import Lan, lan_of


@pytest.fixture
def lan(netns: Callable[..., NetNs], tmp_path: Path) -> Iterator[Lan]:
    """A switch to put nodes on; everything ends with the test."""
    with lan_of(netns, tmp_path) as made:
        yield made
