"""What fuzzing has found worth keeping, once more: see tests/fuzz."""

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed(target: str) -> None:
    found = seeds(target)
    assert len(found) > 20
    for octets in found:
        try:
            TARGETS[target](octets)
        except Exception as error:
            raise AssertionError(f"{octets!r} breaks {target}") from error
