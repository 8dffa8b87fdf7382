from pathlib import Path

import pytest

from causeway.demo.layout import NAME, Layout


def test_demos_do_not_share_anything() -> None:
    one, other = Layout(), Layout("cwd2")
    assert one.folder == Path("/run/causeway-demo")
    assert one.folder != other.folder
    # No name may begin another's names, or one demo would sweep away the other.
    assert not other.prefix.startswith(one.prefix)


@pytest.mark.parametrize("name", ["a-b", "", "-", "A", "../x", "1x", "a" * 13, "a b"])
def test_names_that_are_refused(name: str) -> None:
    assert not NAME.fullmatch(name)
