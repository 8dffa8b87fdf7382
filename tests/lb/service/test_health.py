"""What the health check says; that it is served is in tests/netns/test_services_changes.py."""

import json

import pytest

from lb.cluster.objects import Key, Service, decode
from lb.cluster.store import ObjectStore
from lb.endpoints import Here
from lb.service.health import answer, health_port, local_ready
from lb.service.vips import NodeFacts
from tests.lb.service.expectations import balanced, service, slices

KEY = Key("Service", "default", "web")
FACTS = NodeFacts(Here("one"))
LOCAL = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}


@pytest.mark.parametrize(
    ("document", "port"),
    [
        (balanced(**LOCAL), 32000),
        (balanced(healthCheckNodePort=32000), 0),  # expectation 91: only with the Local policy
        (service(type="NodePort", **LOCAL), 0),
        (balanced(externalTrafficPolicy="Local"), 0),
    ],
)
def test_which_services_have_a_health_port(document: dict[str, object], port: int) -> None:
    found = decode(document)
    assert isinstance(found, Service)
    assert health_port(found) == port
    assert health_port(None) == 0


@pytest.mark.parametrize(("letters", "count"), [("L R", 1), ("L M", 2), ("~L R", 0), ("-L", 0), ("R", 0), ("", 0)])
def test_only_ready_endpoints_on_this_node_count(letters: str, count: int) -> None:
    store = ObjectStore()
    for document in (balanced(**LOCAL), slices(letters)):
        store.put(decode(document))
    assert local_ready(store, KEY, FACTS) == count


def test_no_service_no_endpoints() -> None:
    assert local_ready(ObjectStore(), KEY, FACTS) == 0


@pytest.mark.parametrize(("ready", "status"), [(0, b"503 Service Unavailable"), (2, b"200 OK")])
def test_the_answer(ready: int, status: bytes) -> None:
    head, _, body = answer(KEY, ready).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": ready,
        "serviceProxyHealthy": True,
    }
