import pytest

from ingress.filters.networks import Networks, read_address

FOUND = Networks(("18.0.0.0/8", "56.0.0.1", "10.1.2.3/16", "fd00:7::/32", "0.0.0.0/32"))


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("18.1.2.3", True),
        ("19.0.0.0", False),
        ("56.0.0.1", True),
        ("56.0.0.2", False),
        ("10.1.200.1", True),
        ("10.2.0.0", False),
        ("fd00:7::1", True),
        ("fd00:8::1", False),
        ("::ffff:18.0.0.1", True),
        ("::18.0.0.1", False),
        ("0.0.0.0", True),
        ("::", False),
    ],
)
def test_addresses(address: str, inside: bool) -> None:
    found = read_address(address)
    assert found is not None
    assert (found in FOUND) == inside


def test_everything() -> None:
    found = read_address("203.0.113.9")
    assert found in Networks(("0.0.0.0/0",))
    assert found not in Networks(("::/0",))
    assert not Networks(())


def test_what_is_no_address() -> None:
    assert read_address("unix:") is None
    with pytest.raises(ValueError, match="does not appear"):
        Networks(("10.0.0.0/8", "shop"))
