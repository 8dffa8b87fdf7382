"""Annotations of mirrors -> filters."""

import pytest

from ingress.filters.mirror import MirrorSpecification
from ingress.routes.annotations import mirror
from tests.ingress.routes.annotations.reading import read

TARGET = "https://mirror.example.com:8443$request_uri"


@pytest.mark.parametrize(
    ("annotations", "wanted", "problems"),
    [
        ({}, {}, []),
        ({"mirror-host": "a.example"}, {}, []),
        ({"mirror-target": TARGET}, {"mirror": MirrorSpecification(TARGET)}, []),
        (
            {"mirror-target": TARGET, "mirror-request-body": "off"},
            {"mirror-head": MirrorSpecification(TARGET)},
            [],
        ),
        (
            {"mirror-target": TARGET, "mirror-host": "a.example"},
            {"mirror": MirrorSpecification(TARGET, "a.example")},
            [],
        ),
        ({"mirror-target": TARGET, "mirror-host": "a b"}, {"mirror": MirrorSpecification(TARGET)}, ["mirror-host"]),
        ({"mirror-target": "/mirror"}, {}, ["mirror-target"]),
        ({"mirror-target": "https://$nonsense/"}, {}, ["mirror-target"]),
        ({"mirror-target": "https://user:word@a.example/"}, {}, ["mirror-target"]),
    ],
)
def test_mirrors(annotations: dict[str, str], wanted: dict[str, object], problems: list[str]) -> None:
    wishes, found = read(mirror, annotations)
    assert (wishes.filters, found) == (wanted, problems)
