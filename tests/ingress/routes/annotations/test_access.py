"""Groups that fill in one filter: whichever of them have something to read, nothing of another is lost."""

import itertools

import pytest

from ingress.filters.access import AccessSpecification
from ingress.routes.annotations import PREFIXES, Idle, read_annotations
from tests.ingress.routes.annotations.test_basic_auth import BASIC, SHA, secret
from tests.ingress.state import ingress

USERS = secret(auth=f"ada:{SHA}")
OWN = {"allowlist-source-range": "10.0.0.0/8", **BASIC, "auth-url": "http://own/", "satisfy": "any"}
CONFIG = {"denylist-source-range": "10.9.0.0/16", "global-auth-url": "http://all/", "no-auth-locations": "/open"}


@pytest.mark.parametrize("size", range(len(CONFIG) + 1))
@pytest.mark.parametrize("left_out", [*OWN, None])
def test_nothing_is_lost(left_out: str | None, size: int) -> None:
    annotations = {PREFIXES[1] + name: value for name, value in OWN.items() if name != left_out}
    found = ingress("web", {"a.example": [("/", "Prefix", "x")]}, annotations=annotations)
    for keys in itertools.combinations(CONFIG, size):
        config = {key: CONFIG[key] for key in keys}

        def find(kind: type, namespace: str, name: str) -> object:
            return USERS if (kind.__name__, name) == ("Secret", "users") else None

        idle = Idle(config, find, "")  # type: ignore[arg-type]
        wishes, _, _ = read_annotations(found, config, find, idle=idle)  # type: ignore[arg-type]
        plain, _, _ = read_annotations(found, config, find)  # type: ignore[arg-type]
        assert wishes == plain
        access = wishes.filters["access"]
        assert isinstance(access, AccessSpecification)
        assert bool(access.allow) == (left_out != "allowlist-source-range")
        assert bool(access.deny) == ("denylist-source-range" in keys)
        assert (access.basic is not None) == (left_out not in BASIC)
        assert (access.external is not None) == (left_out != "auth-url" or "global-auth-url" in keys)
        assert access.any == (left_out != "satisfy")
