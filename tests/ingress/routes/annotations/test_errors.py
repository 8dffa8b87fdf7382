"""Annotations about errors -> the filter and the backend it needs."""

from typing import Any

import pytest

from ingress.filters.errors import ErrorsSpecification
from ingress.routes.annotations import errors
from ingress.routes.annotations.reader import PREFIXES, Reader
from ingress.routes.annotations.wishes import Wishes
from tests.ingress.state import ingress, service

OWN, GLOBAL = "shop/pages:8080", "kube-system/default:80"


def read(annotations: dict[str, str], config: dict[str, str], default: str = "") -> tuple[Wishes, list[str]]:
    written = {PREFIXES[1] + name: value for name, value in annotations.items()}
    (pages,) = service("pages", ports=[{"port": 8080}])
    reader = Reader(
        ingress("web", annotations=written),
        config,
        lambda kind, namespace, name: pages if name == "pages" else None,
        default_backend=default,
    )
    wishes = Wishes()
    errors.read(reader, wishes)
    return wishes, [each.field for each in reader.problems]


@pytest.mark.parametrize(
    ("annotations", "config", "default", "wanted", "problems"),
    [
        ({}, {}, GLOBAL, None, 0),
        ({"default-backend": "pages"}, {}, GLOBAL, ErrorsSpecification(OWN, stands_in=True), 0),
        ({"default-backend": "missing"}, {}, GLOBAL, None, 1),
        ({"custom-http-errors": "404, 503"}, {}, GLOBAL, ErrorsSpecification(GLOBAL, (404, 503)), 0),
        ({"custom-http-errors": "404"}, {}, "", None, 1),
        ({"custom-http-errors": "200"}, {}, GLOBAL, None, 1),
        pytest.param(
            {"custom-http-errors": "404"},
            {"custom-http-errors": "500,502"},
            GLOBAL,
            ErrorsSpecification(GLOBAL, (404,)),
            0,
            id="242",
        ),
        ({}, {"custom-http-errors": "500,502"}, GLOBAL, ErrorsSpecification(GLOBAL, (500, 502)), 0),
        pytest.param(
            {"custom-http-errors": "404", "disable-proxy-intercept-errors": "true"},
            {},
            GLOBAL,
            ErrorsSpecification(GLOBAL, (404,), own_only=True),
            0,
            id="243",
        ),
        pytest.param(
            {"custom-http-errors": "404", "default-backend": "pages"},
            {},
            GLOBAL,
            ErrorsSpecification(OWN, (404,), stands_in=True),
            0,
            id="245",
        ),
    ],
)
def test_who_answers(
    annotations: dict[str, str], config: dict[str, str], default: str, wanted: Any, problems: int
) -> None:
    wishes, found = read(annotations, config, default)
    assert (wishes.filters.get("errors"), len(found)) == (wanted, problems)
    assert wishes.backends == ({wanted.backend} if wanted else set())
