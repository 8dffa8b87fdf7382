"""Every expectation of expectations.py, as the pure code explains it."""

import ipaddress

import pytest

from lb.cluster.objects import Node, decode
from lb.cluster.store import ObjectStore
from lb.service.classes import Choice, Source
from lb.service.explain import explain
from lb.service.vips import NodeFacts, Vip, address_of, facts_of
from tests.lb.service.expectations import (
    ENDPOINTS,
    SCENES,
    SOURCES,
    SOURCES6,
    Scene,
    node_document,
)

LETTERS = {address: letter for letter, address in ENDPOINTS.items()}
PLACES = {
    "P": Source.POD,
    "H": Source.POD,
    "N": Source.NODE,
    "V": Source.NODE,
    "X": Source.OUTSIDE,
    "B": Source.OUTSIDE,
    "Q": Source.OUTSIDE,
}


def facts_in(scene: Scene) -> NodeFacts:
    options = {**scene.options}
    node = decode(node_document(pods_known=options.pop("pods_known", True)))
    assert isinstance(node, Node)
    for name in ("service_cidrs", "node_port_addresses"):
        if name in options:
            options[name] = [ipaddress.ip_network(each) for each in options[name]]
    return facts_of(node, "one", **options)


def traced(scene: Scene, source: str, address: str, port: int) -> str:
    """What becomes of the packet, in the words of expectations.py."""
    store = ObjectStore()
    for each in scene.objects:
        store.put(decode(each))
    found, client = address_of(address), address_of((SOURCES6 if ":" in address else SOURCES)[source])
    assert found is not None
    answer = explain(store, facts_in(scene), Vip(found, scene.protocol, port), PLACES[source], source_address=client)
    if answer.choice is None:
        return "-"
    if answer.choice in (Choice.DROP, Choice.REFUSE):
        return "DROP" if answer.choice is Choice.DROP else "REJECT"
    letters = "".join(sorted(LETTERS[each.address] for each in answer.endpoints))
    return f"{letters} {'m' if answer.masqueraded else 'u'}"


CHECKS = [(scene, *check) for scene in SCENES for check in scene.checks]


@pytest.mark.parametrize(
    ("scene", "number", "source", "address", "port", "outcome"),
    CHECKS,
    ids=[f"{check[1]}-{check[0].name}-{check[2]}-{check[3]}-{check[4]}".replace(" ", "_") for check in CHECKS],
)
def test_expectation(scene: Scene, number: int, source: str, address: str, port: int, outcome: str) -> None:
    assert traced(scene, source, address, port) == outcome, f"expectation {number}"
