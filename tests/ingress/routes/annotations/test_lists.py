"""Lists of addresses: what is wrong closes."""

import pytest

from ingress.filters.access import AccessSpecification
from ingress.routes.annotations import lists
from tests.ingress.routes.annotations.reading import read

ALLOW, BEFORE, DENY = "allowlist-source-range", "whitelist-source-range", "denylist-source-range"


def lists_of(annotations: dict[str, str], config: dict[str, str] | None = None) -> tuple[tuple[str, ...], ...]:
    wishes, problems = read(lists, annotations, config)
    assert (problems, wishes.closed) == ([], "")
    found = wishes.filters.get("access", AccessSpecification())
    assert isinstance(found, AccessSpecification)
    return found.allow, found.deny


def test_networks() -> None:
    assert lists_of({}) == ((), ())
    assert lists_of({ALLOW: "18.0.0.0/8, 56.0.0.1,"}) == (("18.0.0.0/8", "56.0.0.1/32"), ())
    assert lists_of({BEFORE: "fd00::1/64"}) == (("fd00::/64",), ())
    assert lists_of({ALLOW: "10.0.0.1", BEFORE: "10.0.0.2", DENY: "10.0.0.3"}) == (("10.0.0.1/32",), ("10.0.0.3/32",))


def test_annotations_take_the_place_of_the_config_maps_lists() -> None:
    config = {BEFORE: "10.0.0.0/8", DENY: "10.9.0.0/16"}
    assert lists_of({}, config) == (("10.0.0.0/8",), ("10.9.0.0/16",))
    assert lists_of({ALLOW: "192.0.2.0/24"}, config) == (("192.0.2.0/24",), ("10.9.0.0/16",))
    assert lists_of({DENY: "192.0.2.0/24"}, config) == (("10.0.0.0/8",), ("192.0.2.0/24",))


@pytest.mark.parametrize("name", [ALLOW, BEFORE, DENY])
@pytest.mark.parametrize("value", ["10.0.0.0/33", "shop", "10.0.0.1;10.0.0.2", ",", "10.0.0.1,\x01", "10.0.0"])
def test_what_is_wrong_closes(name: str, value: str) -> None:
    wishes, problems = read(lists, {name: value})
    assert problems == [name]
    assert wishes.closed.startswith(name)


@pytest.mark.parametrize("key", [BEFORE, DENY])
def test_what_is_wrong_in_the_config_map_closes_too(key: str) -> None:
    wishes, problems = read(lists, {}, {key: "10.0.0.0/33"})
    assert problems == [], "it is reported once for all Ingresses"
    assert wishes.closed
