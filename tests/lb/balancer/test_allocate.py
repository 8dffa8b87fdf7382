"""Who gets which address: tables over whole Services, and the same answer whatever the order of events."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from lb.balancer.allocate import Allocator, Outcome
from lb.balancer.pools import parse_address, parse_pools
from lb.balancer.wish import CLASS
from lb.cluster.objects import Key, Service, decode

V4, V6 = "public=192.0.2.1-192.0.2.3", "public=2001:db8::1-2001:db8::3"


def service(name: str, *, status: Iterable[str] = (), created: str | None = None, **spec: Any) -> Service:
    annotations = spec.pop("annotations", None)
    spec.setdefault("type", "LoadBalancer")
    spec.setdefault("ports", [{"port": 80}])
    found = decode(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "annotations": annotations, "creationTimestamp": created},
            "spec": spec,
            "status": {"loadBalancer": {"ingress": [{"ip": each} for each in status]}},
        }
    )
    assert isinstance(found, Service)
    return found


def key(name: str) -> Key:
    return Key("Service", "default", name)


def settle(allocator: Allocator, *services: Service) -> dict[str, Outcome]:
    outcomes = allocator.settle({each.key: each for each in services})
    return {each.name: outcome for each, outcome in outcomes.items()}


def addresses(outcomes: Mapping[str, Outcome]) -> dict[str, tuple[str, ...] | None]:
    return {name: outcome.addresses for name, outcome in outcomes.items()}


def shared(name: str, port: int, sharing: str = "k", protocol: str = "TCP", **more: Any) -> Service:
    annotation = more.pop("annotation", "causeway.dev/allow-shared-ip")
    return service(name, annotations={annotation: sharing}, ports=[{"port": port, "protocol": protocol}], **more)


LOCAL: dict[str, Any] = {"externalTrafficPolicy": "Local"}


@pytest.mark.parametrize(
    ("pools", "services", "expected"),
    [
        pytest.param([V4], [service("a")], {"a": ("192.0.2.1",)}, id="one"),
        pytest.param([V6], [service("a")], {"a": ("2001:db8::1",)}, id="only IPv6 there is"),
        pytest.param([V4], [service("a", type="ClusterIP")], {"a": None}, id="not a load balancer"),
        pytest.param(
            [V4],
            [service("a", loadBalancerClass="other.example/lb", status=["192.0.2.1"]), service("b")],
            {"a": None, "b": ("192.0.2.1",)},
            id="another class is left alone",
        ),
        pytest.param([V4], [service("a", loadBalancerClass=CLASS)], {"a": ("192.0.2.1",)}, id="class"),
        pytest.param(
            [V4],
            [service("a", type="ClusterIP", status=["192.0.2.2"]), service("b", type="NodePort", status=["10.9.9.9"])],
            {"a": (), "b": None},
            id="type changed while no balancer ran: ours are cleared, foreign ones left",
        ),
        pytest.param(
            [V4],
            [service("b", created="2026-01-02T00:00:00Z"), service("a"), service("c", created="2026-01-01T00:00:00Z")],
            {"c": ("192.0.2.1",), "b": ("192.0.2.2",), "a": ("192.0.2.3",)},
            id="older first, undated last",
        ),
        pytest.param(
            [V4],
            [service("a"), service("b", loadBalancerIP="192.0.2.1")],
            {"a": ("192.0.2.2",), "b": ("192.0.2.1",)},
            id="requests come before anybody else",
        ),
        pytest.param(
            [V4],
            [service("a"), service("b", status=["192.0.2.1"])],
            {"a": ("192.0.2.2",), "b": ("192.0.2.1",)},
            id="a restart moves nothing",
        ),
        pytest.param(
            [V4],
            [service("a", loadBalancerIP="192.0.2.2", status=["192.0.2.1"]), service("b", status=["192.0.2.2"])],
            {"a": ("192.0.2.1",), "b": ("192.0.2.2",)},
            id="a request does not take what another has by its status",
        ),
        pytest.param(
            [V4],
            [service("a", status=["192.0.2.1"]), service("b", status=["192.0.2.1"])],
            {"a": ("192.0.2.1",), "b": ("192.0.2.2",)},
            id="two with one address by status: the first keeps it",
        ),
        pytest.param([V4], [service("a", status=["10.9.9.9"])], {"a": ("192.0.2.1",)}, id="status outside the pools"),
        pytest.param(
            [V4],
            [service("a", annotations={"metallb.io/loadBalancerIPs": "192.0.2.3"})],
            {"a": ("192.0.2.3",)},
            id="MetalLB's annotation",
        ),
        pytest.param(
            [V4, "lan=10.0.0.1-10.0.0.9"],
            [service("a", annotations={"causeway.dev/address-pool": "lan"})],
            {"a": ("10.0.0.1",)},
            id="pool by annotation",
        ),
        pytest.param(
            ["one=192.0.2.1", "two=192.0.2.9"],
            [service("a"), service("b")],
            {"a": ("192.0.2.1",), "b": ("192.0.2.9",)},
            id="the next pool when one is full",
        ),
        pytest.param(
            [V4, V6],
            [service("a", ipFamilies=["IPv6", "IPv4"])],
            {"a": ("2001:db8::1", "192.0.2.1")},
            id="dual stack, primary first",
        ),
        pytest.param(
            [V4, V6],
            [service("a", ipFamilyPolicy="RequireDualStack")],
            {"a": ("192.0.2.1", "2001:db8::1")},
            id="dual stack by policy alone",
        ),
        pytest.param(
            ["four=192.0.2.1-192.0.2.9", "both=198.51.100.1-198.51.100.9", "both=2001:db8::/64"],
            [service("a", ipFamilies=["IPv4", "IPv6"])],
            {"a": ("198.51.100.1", "2001:db8::1")},
            id="both families from one pool",
        ),
        pytest.param(
            [V4],
            [service("a", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack")],
            {"a": ("192.0.2.1",)},
            id="PreferDualStack makes do with one",
        ),
        pytest.param(
            [V4, V6],
            [service("a", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack", status=["192.0.2.2"])],
            {"a": ("192.0.2.2", "2001:db8::1")},
            id="the second family joins when its pool comes",
        ),
        pytest.param(
            ["four=192.0.2.1-192.0.2.9", "both=198.51.100.1-198.51.100.9", "both=2001:db8::/64"],
            [service("a", ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack", status=["192.0.2.2"])],
            {"a": ("192.0.2.2",)},
            id="but it does not change the pool for it",
        ),
        pytest.param([V4, V6], [service("a", clusterIP="fd00::5")], {"a": ("2001:db8::1",)}, id="family of clusterIP"),
        pytest.param(
            [V4, V6],
            [service("a", ipFamilies=["IPv4", "IPv6"], loadBalancerIP="192.0.2.3")],
            {"a": ("192.0.2.3", "2001:db8::1")},
            id="one family asked for, the other given",
        ),
        pytest.param(
            [V4], [shared("a", 80), shared("b", 443)], {"a": ("192.0.2.1",), "b": ("192.0.2.1",)}, id="shared"
        ),
        pytest.param(
            [V4], [shared("a", 80), shared("b", 80)], {"a": ("192.0.2.1",), "b": ("192.0.2.2",)}, id="same port"
        ),
        pytest.param(
            [V4],
            [shared("a", 53), shared("b", 53, protocol="UDP", annotation="metallb.io/allow-shared-ip")],
            {"a": ("192.0.2.1",), "b": ("192.0.2.1",)},
            id="same port, other protocol",
        ),
        pytest.param(
            [V4],
            [shared("a", 80), shared("b", 443, sharing="other"), service("c", ports=[{"port": 1}])],
            {"a": ("192.0.2.1",), "b": ("192.0.2.2",), "c": ("192.0.2.3",)},
            id="other key, no key",
        ),
        pytest.param(
            [V4],
            [shared("a", 80, selector={"app": "x"}, **LOCAL), shared("b", 443, selector={"app": "x"}, **LOCAL)],
            {"a": ("192.0.2.1",), "b": ("192.0.2.1",)},
            id="Local with the same pods",
        ),
        pytest.param(
            [V4],
            [shared("a", 80, selector={"app": "x"}, **LOCAL), shared("b", 443, selector={"app": "y"}, **LOCAL)],
            {"a": ("192.0.2.1",), "b": ("192.0.2.2",)},
            id="Local with other pods",
        ),
        pytest.param(
            [V4],
            [shared("a", 80, status=["192.0.2.3"]), shared("b", 443, status=["192.0.2.3"])],
            {"a": ("192.0.2.3",), "b": ("192.0.2.3",)},
            id="sharing is kept over a restart",
        ),
    ],
)  # fmt: skip
def test_addresses(pools: list[str], services: list[Service], expected: dict[str, tuple[str, ...] | None]) -> None:
    assert addresses(settle(Allocator(parse_pools(pools)), *services)) == expected
    shuffled = list(services)
    random.Random(1).shuffle(shuffled)
    assert addresses(settle(Allocator(parse_pools(pools)), *shuffled)) == expected


@pytest.mark.parametrize(
    ("asked", "field", "reason"),
    [
        (service("b"), "spec.type", "no free IP address in pool 'public'"),
        (service("b", ipFamilies=["IPv6"]), "spec.type", "no free IPv6 address"),
        (service("b", loadBalancerIP="192.0.2.1"), "spec.loadBalancerIP", "held by Service default/a"),
        (service("b", loadBalancerIP="10.0.0.1"), "spec.loadBalancerIP", "10.0.0.1 is in no pool"),
        (service("b", loadBalancerIP="192.0.2.x"), "spec.loadBalancerIP", "'192.0.2.x' is not an IP address"),
        (service("b", loadBalancerIP="192.0.2.2"), "spec.loadBalancerIP", "is the address of a node"),
        (service("b", loadBalancerIP="192.0.2.1", ipFamilies=["IPv6"]), "spec.loadBalancerIP", "the Service is IPv6"),
        (service("b", ipFamilies=["IPv5"]), "spec.ipFamilies", "'IPv5' is not a family"),
        (
            service("b", annotations={"causeway.dev/address-pool": "nope"}),
            "metadata.annotations[causeway.dev/address-pool]",
            "there is no pool 'nope'",
        ),
        (
            service("b", annotations={"causeway.dev/load-balancer-ips": "192.0.2.1,192.0.2.2"}),
            "metadata.annotations[causeway.dev/load-balancer-ips]",
            "asks for two IPv4 addresses",
        ),
        (
            service("b", annotations={"causeway.dev/load-balancer-ips": "192.0.2.1"}, loadBalancerIP="192.0.2.2"),
            "metadata.annotations[causeway.dev/load-balancer-ips]",
            "both asked for",
        ),
    ],
)
def test_what_cannot_be_given_is_a_problem(asked: Service, field: str, reason: str) -> None:
    allocator = Allocator(parse_pools(["public=192.0.2.1-192.0.2.2"]))
    node = parse_address("192.0.2.2")
    assert node is not None
    allocator.reserve([node])
    outcomes = settle(allocator, service("a", created="2026-01-01T00:00:00Z", status=["192.0.2.1"]), asked)
    assert outcomes["a"] == Outcome(("192.0.2.1",))
    [problem] = outcomes["b"].problems
    assert outcomes["b"].addresses == ()
    assert (problem.object, problem.field) == ("Service default/b", field)
    assert reason in problem.reason
    assert problem.advice


def test_an_address_given_back_goes_to_the_one_that_waits() -> None:
    allocator = Allocator(parse_pools(["p=192.0.2.1"]))
    assert addresses(settle(allocator, service("a"), service("b"), service("c"))) == {
        "a": ("192.0.2.1",), "b": (), "c": (),
    }  # fmt: skip
    # deleted
    after = allocator.settle({key("a"): None})
    assert after[key("a")] == Outcome(None)
    assert after[key("b")] == Outcome(("192.0.2.1",))
    assert after[key("c")].problems
    # of another type
    changed = settle(allocator, service("b", type="ClusterIP", status=["192.0.2.1"]))
    assert addresses(changed) == {"b": (), "c": ("192.0.2.1",)}
    assert not changed["c"].problems


def test_a_node_address_given_back_is_given_out() -> None:
    allocator = Allocator(parse_pools(["p=192.0.2.1"]))
    node = parse_address("192.0.2.1")
    assert node is not None
    allocator.reserve([node])
    assert settle(allocator, service("a"))["a"].problems
    allocator.reserve([])
    assert addresses(settle(allocator)) == {"a": ("192.0.2.1",)}


def test_a_new_request_that_cannot_be_met_keeps_the_old_address() -> None:
    allocator = Allocator(parse_pools([V4]))
    settle(allocator, service("a"), service("b"))
    refused = settle(allocator, service("b", loadBalancerIP="192.0.2.1"))
    assert refused["b"].addresses == ("192.0.2.2",)
    assert "it keeps 192.0.2.2" in refused["b"].problems[0].reason
    # the wanted address becomes free: b moves, and what it had is free again
    moved = allocator.settle({key("a"): None})
    assert moved[key("b")] == Outcome(("192.0.2.1",))
    assert addresses(settle(allocator, service("c"))) == {"c": ("192.0.2.2",)}


def test_sharing_is_looked_at_again() -> None:
    allocator = Allocator(parse_pools([V4]))
    settle(allocator, shared("a", 80), shared("b", 443))
    # its port now collides: the one that changed moves
    assert addresses(settle(allocator, shared("b", 80))) == {"b": ("192.0.2.2",)}
    waits = settle(allocator, shared("c", 8080, sharing="z", loadBalancerIP="192.0.2.2"))
    assert waits["c"].problems
    assert addresses(settle(allocator, shared("b", 80, sharing="z"))) == {"b": ("192.0.2.2",), "c": ("192.0.2.2",)}


def test_settling_twice_changes_nothing() -> None:
    allocator = Allocator(parse_pools([V4, V6]))
    all_of_them = [service("a", ipFamilies=["IPv4", "IPv6"]), shared("b", 1), shared("c", 2), service("d")]
    first = settle(allocator, *all_of_them)
    assert settle(allocator, *all_of_them) == first
    assert allocator.usage() == {"public": 4}


@pytest.mark.parametrize("seed", range(30))
def test_invariants_hold_whatever_happens(seed: int) -> None:
    """No address twice (unless shared), nothing lost, and nobody waits while an address is free."""
    draw = random.Random(seed)
    allocator = Allocator(parse_pools(["p=192.0.2.1-192.0.2.4", "q=198.51.100.1-198.51.100.2"]))
    present: dict[Key, Service] = {}
    last: dict[Key, Outcome] = {}
    for _ in range(150):
        name = f"s{draw.randrange(9)}"
        dirty = key(name)
        if draw.random() < 0.3:
            present.pop(dirty, None)
        elif draw.random() < 0.4:
            present[dirty] = shared(name, draw.randrange(3), draw.choice("kl"))
        else:
            pool = draw.choice([None, {"causeway.dev/address-pool": draw.choice("pq")}])
            wanted = draw.choice(["", "", f"192.0.2.{draw.randrange(1, 5)}"]) if pool is None else ""
            present[dirty] = service(name, annotations=pool, loadBalancerIP=wanted)
        last |= allocator.settle({dirty: present.get(dirty)})
        last = {each: outcome for each, outcome in last.items() if each in present}
        held = allocator.holders()
        assert {each: outcome.addresses for each, outcome in last.items() if outcome.addresses} == held
        ports = [
            (address, port.port)
            for each, found in held.items() for address in found for port in present[each].spec.ports
        ]  # fmt: skip
        assert len(ports) == len(set(ports))
        if sum(allocator.usage().values()) < 6:
            assert all(
                outcome.addresses for each, outcome in last.items()
                if not present[each].annotations and not present[each].spec.load_balancer_ip
            )  # fmt: skip
