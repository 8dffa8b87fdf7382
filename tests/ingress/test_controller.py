"""The reconcile step: what is handed on, and what the operator is told."""

import logging

import pytest

from ingress.controller import Controller
from ingress.default_certificate import make_default_certificate
from ingress.routes.certificates import read_pair
from ingress.routes.classes import STANDALONE
from ingress.routes.compile import RoutingTable
from ingress.routes.model import Changes
from ingress.wire import Refused
from lb.cluster.objects import Key
from tests.ingress.certificates import tls_secret
from tests.ingress.state import endpoint_slice, ingress, service, store_of


class Published(list[Changes]):
    """Takes what is handed on."""


async def test_the_first_pass_is_handed_on_even_if_empty_and_later_only_differences() -> None:
    table, published = RoutingTable(store_of(), STANDALONE), Published()
    controller = Controller(table, published.append)
    await controller.apply(None)
    await controller.apply(None)
    assert len(published) == 1
    for found in (ingress("web", default="x"), *service("x", "10.0.0.1:80")):
        table.store.put(found)
    await controller.apply([Key("Ingress", "shop", "web")])
    assert (list(published[1].hosts), list(published[1].backends)) == ([""], ["shop/x:80"])


async def test_a_default_certificate_steps_in_where_every_host_has_none() -> None:
    default = make_default_certificate()
    everywhere = ingress("web", default="x", tls=[{"secretName": "cert"}])
    table, published = RoutingTable(store_of(everywhere, tls_secret("cert", "a.example")), STANDALONE), Published()
    controller = Controller(table, published.append, default_certificate=default)
    await controller.apply(None)
    assert controller.snapshot(1).certificates[""] == read_pair(next(iter(table.store.all(type(tls_secret("c", "c"))))))
    key = Key("Secret", "shop", "cert")
    table.store.remove(key)
    await controller.apply([key])
    assert published[-1].certificates == {"": default}
    assert controller.snapshot(1).certificates[""] == (default.chain_pem, default.key_pem)


async def test_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    table = RoutingTable(store_of(ingress("web", {"*": []}, default="x"), ingress("all", default="x")), STANDALONE)
    for found in service("x", "10.0.0.1:80"):
        table.store.put(found)
    controller = Controller(table, Published().append)
    await controller.apply(None)
    assert "serving 1 hosts, 1 routes, 1 backends, 0 certificates; 1 problems" in caplog.text
    assert caplog.text.count("Ingress shop/web: spec.rules[0].host") == 1
    table.store.put(endpoint_slice("x", "10.0.0.1:80 !ready"))
    await controller.apply([Key("Service", "shop", "x")])
    assert "Service shop/x port 80: 0 of 1 endpoints ready; requests for it get 503" in caplog.text
    table.store.put(endpoint_slice("x", "10.0.0.1:80"))
    await controller.apply([Key("Service", "shop", "x")])
    assert "Service shop/x port 80: 1 of 1 endpoints ready" in caplog.text


async def test_what_a_worker_refuses_is_a_problem_until_it_changes() -> None:
    web = ingress("web", {"a.example": []}, tls=[{"secretName": "cert"}])
    table = RoutingTable(store_of(web, tls_secret("cert", "a.example")), STANDALONE)
    controller = Controller(table, Published().append)
    await controller.apply(None)
    for _ in range(2):  # every worker says it
        controller.take_refused([Refused("certificates", "a.example", "ee key too small")])
    assert [str(each) for each in table.problems] == [
        "Secret shop/cert: data: TLS does not take it for a.example: ee key too small "
        "(put a certificate and its key into it)"
    ]
    better = tls_secret("cert", "a.example")
    table.store.put(better)
    await controller.apply([better.key])
    assert not list(table.problems)
