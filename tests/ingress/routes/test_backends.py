"""Who may answer for a Service port."""

import pytest

from ingress.routes.backends import compile_backend
from lb.cluster.objects import SERVICE_NAME_LABEL, Object, decode
from tests.ingress.state import endpoint_slice, service, store_of


@pytest.mark.parametrize(
    ("endpoints", "want"),
    [
        (["10.0.0.1:8080", "10.0.0.2:8080"], ["10.0.0.1", "10.0.0.2"]),
        (["10.0.0.1:8080 ready", "10.0.0.2:8080 !ready"], ["10.0.0.1"]),
        (["10.0.0.1:8080 !ready serving terminating", "10.0.0.2:8080 ready"], ["10.0.0.2"]),
        # Nobody is ready: those that shut down in good order still answer.
        (["10.0.0.1:8080 !ready serving terminating", "10.0.0.2:8080 !ready !serving terminating"], ["10.0.0.1"]),
        (["10.0.0.1:8080 !ready serving"], []),
        (["10.0.0.1:8080 !ready"], []),
        # publishNotReadyAddresses: the API says ready, whatever else is true.
        (["10.0.0.1:8080 ready terminating"], ["10.0.0.1"]),
    ],
)
def test_ready_endpoints(endpoints: list[str], want: list[str]) -> None:
    found = compile_backend(store_of(*service("cart", *endpoints)), "shop", "cart", "80")
    assert [ip for ip, port in found.endpoints] == want
    assert {port for _, port in found.endpoints} <= {8080}
    assert found.total == len(endpoints)
    assert not found.wrong


def test_a_named_target_port_has_a_number_of_its_own_in_each_slice() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}, {"name": "metrics", "port": 81}]
    store = store_of(
        *service("cart", ports=ports),
        endpoint_slice("cart", "10.0.0.1:8080", slice_name="old", port_name="http"),
        endpoint_slice("cart", "10.0.0.2:9090", slice_name="new", port_name="http"),
        endpoint_slice("cart", "10.0.0.1:7070", slice_name="other", port_name="metrics"),
    )
    want = (("10.0.0.2", 9090), ("10.0.0.1", 8080))
    assert compile_backend(store, "shop", "cart", "http").endpoints == want
    assert compile_backend(store, "shop", "cart", "80").endpoints == want


def test_an_endpoint_in_two_slices_counts_once() -> None:
    store = store_of(*service("cart", "10.0.0.1:80"), endpoint_slice("cart", "10.0.0.1:80", slice_name="twice"))
    assert compile_backend(store, "shop", "cart", "80").endpoints == (("10.0.0.1", 80),)


def by_name(name: str) -> Object:
    return decode(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "names", "namespace": "shop", "labels": {SERVICE_NAME_LABEL: name}},
            "addressType": "FQDN",
            "ports": [{"name": "", "port": 80}],
            "endpoints": [{"addresses": ["db.example"]}],
        }
    )


@pytest.mark.parametrize(
    ("found", "port", "wrong"),
    [
        ([], "80", "Service shop/cart does not exist"),
        (service("cart"), "81", "Service shop/cart has no port 81"),
        (service("cart"), "http", "Service shop/cart has no port http"),
        (service("cart", type="ExternalName", externalName="localhost"), "80", "not reached by name"),
        (service("cart", ports=[{"port": 80, "protocol": "UDP"}]), "80", "UDP"),
        ([*service("cart"), by_name("cart")], "80", "endpoints by name (names has addressType FQDN)"),
    ],
)
def test_what_an_operator_must_correct(found: list[Object], port: str, wrong: str) -> None:
    made = compile_backend(store_of(*found), "shop", "cart", port)
    assert wrong in made.wrong
    assert made.advice
    assert made.endpoints == ()


def test_no_endpoints_is_nothing_to_correct() -> None:
    made = compile_backend(store_of(*service("cart")), "shop", "cart", "80")
    assert made.wrong == ""
    assert "no EndpointSlice labelled kubernetes.io/service-name=cart" in made.state
