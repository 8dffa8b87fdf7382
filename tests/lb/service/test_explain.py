"""The words of an explanation; the decisions are in test_expectations.py."""

import ipaddress
from typing import Any

import pytest

from lb.cluster.objects import Node, decode
from lb.cluster.store import ObjectStore
from lb.service.classes import Choice, Source
from lb.service.explain import Explanation, explain
from lb.service.vips import Role, Vip, facts_of
from tests.lb.service.expectations import CIP, CIP2, FREE_CIP, LB1, NODE, balanced, node_document, service, slices


def explained(
    *documents: dict[str, Any], address: str = CIP, port: int = 80, source: Source = Source.POD, client: str = ""
) -> Explanation:
    store = ObjectStore()
    for each in documents:
        store.put(decode(each))
    node = decode(node_document())
    assert isinstance(node, Node)
    facts = facts_of(node, "one", service_cidrs=[ipaddress.ip_network("10.96.0.0/16")])
    vip = Vip(ipaddress.ip_address(address), "TCP", port)
    return explain(store, facts, vip, source, source_address=ipaddress.ip_address(client) if client else None)


def test_a_way_that_works() -> None:
    found = explained(balanced(), slices("L -M R"))
    assert (str(found.service), found.role, found.choice) == ("Service default/web", Role.CLUSTER_IP, Choice.CLUSTER)
    assert found.policy == "spec.internalTrafficPolicy: Cluster"
    assert [str(each) for each in found.endpoints] == ["10.244.1.11:8080", "10.244.2.21:8080"]
    assert [(str(each), why) for each, why in found.left_out] == [("10.244.1.13:8080", "not ready")]
    assert found.elements[1] == "map endpoints { 10.96.0.10 . tcp . 80 . its index : 10.244.1.11 . 8080 }"
    assert found.look[0] == "nft get element ip causeway-services vips '{ 10.96.0.10 . tcp . 80 }'"
    assert not found.advice


def test_the_local_policy_says_why_others_are_left_out() -> None:
    found = explained(
        balanced(externalTrafficPolicy="Local"), slices("L R"), address=LB1, source=Source.OUTSIDE, client="203.0.113.9"
    )
    assert found.policy == "spec.externalTrafficPolicy: Local"
    assert found.left_out[0][1] == "on node two, and the policy is Local"
    assert not found.masqueraded


@pytest.mark.parametrize(
    ("documents", "asked", "choice", "reason", "advice"),
    [
        ([service()], {}, Choice.REFUSE, "no endpoint for this port", "selector"),
        ([service(), slices("-L")], {}, Choice.REFUSE, "none of the Service's endpoints is ready", "look at its pods"),
        ([service(), slices("L")], {"port": 81}, Choice.REFUSE, "it has 80/TCP", "one of its ports"),
        ([service(), slices("L")], {"address": FREE_CIP}, Choice.DROP, "in the Service range", ""),
        ([service(), slices("L")], {"address": NODE}, None, "no Service has this nodePort", ""),
        ([service(), slices("L")], {"address": "192.0.2.1"}, None, "no Service has this address", ""),
        (
            [service(internalTrafficPolicy="Local"), slices("R")],
            {}, Choice.DROP, "no endpoint on this node", "change the policy",
        ),
        (
            [balanced(loadBalancerSourceRanges=["192.0.2.0/24"]), slices("L")],
            {"address": LB1, "client": "203.0.113.9", "source": Source.OUTSIDE},
            Choice.DROP, "203.0.113.9 is in no range let in", "spec.loadBalancerSourceRanges",
        ),
    ],
)  # fmt: skip
def test_refusals_say_why_and_what_to_do(
    documents: list[dict[str, Any]], asked: dict[str, Any], choice: Choice | None, reason: str, advice: str
) -> None:
    found = explained(*documents, **asked)
    assert found.choice is choice
    assert reason in found.reason
    assert advice in found.advice


def test_of_two_services_the_older_one_answers() -> None:
    older, younger = service("z", clusterIP=CIP), service("a", clusterIP=CIP)
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    found = explained(older, younger, service("other", clusterIP=CIP2), slices("L", "z"))
    assert str(found.service) == "Service default/z"
