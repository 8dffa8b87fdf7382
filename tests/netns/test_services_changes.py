"""What only time shows: affinity, UDP flows, changes under load, restarts of the agent, tables that others break."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lb.cluster.objects import Key
from lb.reconcile import ApplyFailed
from lb.service.plan import UNUSED_CLASSES_MAX
from tests.conftest import namespaces
from tests.lb.service.expectations import (
    CIP,
    CIP2,
    CIP6,
    ENDPOINTS,
    EXTERNAL,
    LB1,
    LB6,
    NODE,
    balanced,
    endpoint,
    service,
    slices,
)
from tests.netns.service_lab import Lab, inside, lab_of

pytestmark = pytest.mark.netns
L, M, K, R, S = (ENDPOINTS[each] for each in "LMKRS")
DNS = [{"name": "dns", "port": 53, "protocol": "UDP"}]


@pytest.fixture(scope="module")
def built() -> Iterator[Lab]:
    with namespaces() as make, lab_of(make) as made:
        yield made


@pytest.fixture
def lab(built: Lab) -> Lab:
    """With empty tables and no flow remembered."""
    for family in ("ip", "ip6"):
        built.node.run("nft", "delete", "table", family, "causeway-services", check=False)
    built.node.run("conntrack", "-F", check=False)
    built.with_options()
    return built


def sticky(seconds: int = 100, **spec: Any) -> dict[str, Any]:
    config = {"clientIP": {"timeoutSeconds": seconds}}
    return service(sessionAffinity="ClientIP", sessionAffinityConfig=config, **spec)


def met(lab: Lab, source: str, address: str, port: int = 80, times: int = 16) -> set[str]:
    return {lab.ask(source, address, port)[0] for _ in range(times)}


# -- affinity


@pytest.mark.parametrize(
    ("spec", "family", "letters", "address", "port"),
    [
        ({}, "IPv4", "L M K R S", CIP, 80),
        ({"type": "NodePort"}, "IPv4", "L M K R S", NODE, 30080),
        ({"clusterIP": CIP6}, "IPv6", "l r", CIP6, 80),
        (
            {"externalTrafficPolicy": "Local", "type": "LoadBalancer", "status": [{"ip": LB1}]},
            "IPv4", "L M K R S", LB1, 80,
        ),
    ],
    ids=["ClusterIP", "NodePort", "IPv6", "LoadBalancer_Local"],
)  # fmt: skip
async def test_a_client_keeps_its_endpoint(
    lab: Lab, spec: dict[str, Any], family: str, letters: str, address: str, port: int
) -> None:
    await lab.have(sticky(**spec), slices(letters, family=family))
    first = met(lab, "X", address, port)
    assert len(first) == 1
    assert met(lab, "X", address, port) == first


async def test_a_client_keeps_its_endpoint_whatever_becomes_of_the_others(lab: Lab) -> None:
    await lab.have(sticky(), slices("L M K R S"))
    (mine,) = met(lab, "P", CIP)
    letters = [letter for letter in "LMKRS" if ENDPOINTS[letter] != mine]
    my_letter = next(letter for letter in "LMKRS" if ENDPOINTS[letter] == mine)
    for others in (letters[1:], letters[2:], [], letters[:1], letters):
        await lab.have(sticky(), slices(" ".join([*others, my_letter])))
        assert met(lab, "P", CIP) == {mine}, f"with {others} beside it"


async def test_a_client_whose_endpoint_has_gone_gets_another_and_keeps_that(lab: Lab) -> None:
    await lab.have(sticky(), slices("L M K R S"))
    letters = set("LMKRS")
    for _ in range(4):
        (mine,) = met(lab, "P", CIP)
        letters -= {letter for letter in letters if ENDPOINTS[letter] == mine}
        await lab.have(sticky(), slices(" ".join(sorted(letters))))
        (then,) = met(lab, "P", CIP)
        assert then in {ENDPOINTS[letter] for letter in letters}


async def test_affinity_ends_after_its_time(lab: Lab) -> None:
    await lab.have(sticky(seconds=1), slices("L M K R"))
    found = met(lab, "P", CIP)
    for _ in range(20):  # of four endpoints the same one is drawn 20 times once in 10^12 runs
        await asyncio.sleep(1.1)  # the time itself is what is tested
        found |= met(lab, "P", CIP, times=1)
        if len(found) > 1:
            break
    assert len(found) > 1


async def test_a_change_of_policy_frees_a_client_from_an_endpoint_elsewhere(lab: Lab) -> None:
    balanced_spec = {"type": "LoadBalancer", "status": [{"ip": LB1}]}
    await lab.have(sticky(**balanced_spec), slices("R S"))
    assert met(lab, "X", LB1) <= {R, S}
    await lab.have(sticky(**balanced_spec, externalTrafficPolicy="Local"), slices("L R S"))
    assert met(lab, "X", LB1) == {L}


async def test_affinity_lives_through_a_restart_of_the_agent(lab: Lab) -> None:
    objects = (sticky(), slices("L M K R S"))
    await lab.have(*objects)
    (mine,) = met(lab, "P", CIP)
    lab.with_options()
    await lab.have(*objects)
    assert met(lab, "P", CIP) == {mine}


# -- UDP


async def test_udp_client_is_moved_when_its_endpoint_goes(lab: Lab) -> None:
    await lab.have(service(ports=DNS), slices("L", protocol="UDP", name="dns"))
    with lab.udp_client("P", CIP) as client, lab.udp_client("X", CIP) as bystander:
        assert lab.send(client, CIP, 53)[0] == L
        assert lab.send(bystander, CIP, 53)[0] == L
        await lab.have(service(ports=DNS), slices("R", protocol="UDP", name="dns"))
        assert lab.send(client, CIP, 53)[0] == R
        await lab.have(service(ports=DNS), slices("!L", protocol="UDP", name="dns"))
        assert lab.send(client, CIP, 53) == ("REJECT", "")
        await lab.have(service(ports=DNS), slices("L", protocol="UDP", name="dns"))
        assert lab.send(client, CIP, 53)[0] == L


async def test_udp_flow_to_a_serving_endpoint_is_left_alone(lab: Lab) -> None:
    await lab.have(service(ports=DNS), slices("L", protocol="UDP", name="dns"))
    with lab.udp_client("P", CIP) as client:
        assert lab.send(client, CIP, 53)[0] == L
        await lab.have(service(ports=DNS), slices("~L R", protocol="UDP", name="dns"))
        assert lab.send(client, CIP, 53)[0] == L, "terminating but serving: it may finish what it has begun"


async def test_udp_flow_from_before_the_service_is_moved(lab: Lab) -> None:
    await lab.have()
    with lab.udp_client("X", NODE) as client:
        assert lab.send(client, NODE, 30053) == ("REJECT", "")
        ports = [{**DNS[0], "nodePort": 30053}]
        await lab.have(service(type="NodePort", ports=ports), slices("L", protocol="UDP", name="dns"))
        assert lab.send(client, NODE, 30053)[0] == L


# -- changes


async def test_no_connection_fails_while_everything_changes(lab: Lab) -> None:
    """Scaling, agents starting again, and a table replaced as a whole, under load from two sources."""
    await lab.have(balanced(), slices("L R"))
    stop = threading.Event()
    asked = threading.Semaphore(0)
    seen: list[tuple[str, str]] = []

    def load() -> None:
        while not stop.is_set():
            seen.append(lab.ask("P", CIP, 80))
            seen.append(lab.ask("X", LB1, 80))
            asked.release()

    async def some_more() -> None:
        for _ in range(4):
            assert await asyncio.to_thread(asked.acquire, timeout=10)

    loading = asyncio.create_task(asyncio.to_thread(load))
    try:
        for letters in ("L", "L M K R S", "R", "R S", "L M", "~L", "L R", "M", "L R") * 3:
            await lab.have(balanced(), slices(letters))
            await some_more()
        for options in ({}, {"masquerade_all": True}, {}, {}):
            lab.with_options(**options)
            await lab.have(balanced(), slices("L R"))
            await some_more()
    finally:
        stop.set()
        await loading
    assert {endpoint for endpoint, _ in seen} <= {L, M, K, R, S}, "a connection was refused or lost"


async def test_an_agent_that_starts_again_corrects_only_what_differs(lab: Lab) -> None:
    objects = (balanced(), slices("L R"), service("other", clusterIP="10.96.0.11"), slices("M", "other"))
    await lab.have(*objects)
    lab.node.run("nft", "delete", "element", "ip", "causeway-services", "vips", "{ 10.96.0.11 . tcp . 80 }")
    lab.node.run("nft", "add", "element", "ip", "causeway-services", "cluster-ips", "{ 10.96.0.99 }")
    before = lab.node.run("nft", "-a", "list", "chains", "ip")
    lab.with_options()
    await lab.have(*objects)
    assert lab.ask("P", "10.96.0.11", 80)[0] == M
    assert "10.96.0.99" not in lab.node.run("nft", "list", "set", "ip", "causeway-services", "cluster-ips")
    assert lab.node.run("nft", "-a", "list", "chains", "ip") == before, "the same chains, not new ones"


async def test_a_table_broken_by_others_is_told_and_mended(lab: Lab) -> None:
    await lab.have(service(), slices("L"))
    lab.node.run("nft", "delete", "table", "ip", "causeway-services")
    with pytest.raises(ApplyFailed, match="causeway-services"):
        await lab.have(service(), slices("L R"))
    await lab.dataplane.apply([Key("Service", "default", "web")])
    assert met(lab, "P", CIP, times=40) == {L, R}


@pytest.mark.parametrize(
    "damage",
    [
        "flush chain ip causeway-services services",
        "flush chain ip causeway-services pick-1",
        "flush chain ip causeway-services internal-1",
        "delete chain ip causeway-services prerouting",
        "delete element ip causeway-services classes { 0x7ca00000 }",
        "flush map ip causeway-services endpoints",
        "add chain ip causeway-services theirs; add element ip causeway-services classes { 0x7ca00009 : goto theirs }",
        "flush ruleset",
    ],
)
async def test_a_full_pass_mends_whatever_others_have_done(lab: Lab, damage: str) -> None:
    await lab.have(service(), slices("L"))
    sound = lab.node.run("nft", "list", "table", "ip", "causeway-services")
    lab.node.run("nft", *damage.split())
    await lab.dataplane.apply(None)
    assert met(lab, "P", CIP) == {L}
    mended = lab.node.run("nft", "list", "table", "ip", "causeway-services")
    assert sorted(mended.splitlines()) == sorted(sound.splitlines())


async def test_the_kernel_holds_what_is_planned_after_any_sequence_of_changes(lab: Lab) -> None:
    draw = random.Random(4)
    specs: list[dict[str, Any]] = [
        {}, {"externalTrafficPolicy": "Local"}, {"internalTrafficPolicy": "Local"}, {"sessionAffinity": "ClientIP"},
        {"loadBalancerSourceRanges": ["10.0.0.0/8", "203.0.113.0/24"]},
    ]  # fmt: skip
    for _ in range(60):
        objects = []
        for index, name in enumerate(draw.sample("abcd", draw.randrange(5))):
            letters = " ".join(draw.sample("LMKRS", draw.randrange(6)))
            cluster_ip = f"10.96.0.{20 + index}"
            objects += [balanced(name, clusterIP=cluster_ip, **draw.choice(specs)), slices(letters, name)]
        await lab.have(*objects)
        for family, present in lab.dataplane._read_present().items():
            plan = lab.dataplane.plans[family]
            planned = {place: data for each in plan.placed.values() for place, data in each.elements()}
            planned.update(dict.fromkeys(plan._shared, b""))
            assert present.elements == planned


async def test_udp_flows_of_many_services_at_once(lab: Lab) -> None:
    def all_of_them(letter: str) -> list[dict[str, Any]]:
        objects: list[dict[str, Any]] = []
        for index in range(20):
            name = f"dns-{index}"
            objects.append(service(name, clusterIP=f"10.96.1.{index}", ports=DNS))
            objects.append(slices(letter, name, protocol="UDP", name="dns"))
        return objects

    await lab.have(*all_of_them("L"))
    with lab.udp_client("P", CIP) as first, lab.udp_client("P", CIP) as last:
        assert (lab.send(first, "10.96.1.0", 53)[0], lab.send(last, "10.96.1.19", 53)[0]) == (L, L)
        await lab.have(*all_of_them("R"))
        assert (lab.send(first, "10.96.1.0", 53)[0], lab.send(last, "10.96.1.19", 53)[0]) == (R, R)


async def test_services_stay_when_the_node_object_is_deleted(lab: Lab) -> None:
    await lab.have(service(type="NodePort"), slices("L"))
    node = Key("Node", "", "one")
    lab.store.remove(node)
    await lab.dataplane.apply([node])
    assert lab.ask("X", NODE, 30080)[0] == L
    await lab.have(service(type="NodePort"), slices("R"))
    assert lab.ask("X", NODE, 30080)[0] == R


async def test_older_service_keeps_a_contested_address(lab: Lab) -> None:
    def claiming(name: str, cluster_ip: str, made: str) -> dict[str, Any]:
        found = service(name, clusterIP=cluster_ip, externalIPs=[EXTERNAL])
        found["metadata"]["creationTimestamp"] = made
        return found

    younger = (claiming("younger", CIP, "2026-02-01T00:00:00Z"), slices("L", "younger"))
    older = (claiming("older", "10.96.0.11", "2026-01-01T00:00:00Z"), slices("R", "older"))
    await lab.have(*younger)
    assert met(lab, "X", EXTERNAL) == {L}
    await lab.have(*younger, *older)
    assert met(lab, "X", EXTERNAL) == {R}
    (problem,) = lab.dataplane._problems
    assert problem.object == "Service default/younger"
    assert "older" in problem.reason
    await lab.have(*younger)
    assert met(lab, "X", EXTERNAL) == {L}
    assert not len(lab.dataplane._problems)


async def test_classes_out_of_use_are_removed(lab: Lab) -> None:
    def many(count: int) -> dict[str, Any]:
        found = slices("L")
        found["endpoints"] += [{**endpoint("R"), "addresses": [f"10.244.3.{each}"]} for each in range(1, count)]
        return found

    for count in range(1, UNUSED_CLASSES_MAX + 12):
        await lab.have(service(), many(count))
    chains = lab.node.run("nft", "list", "chains", "ip").count("internal-")
    assert chains <= UNUSED_CLASSES_MAX + 1
    await lab.have(service(), many(1))
    assert met(lab, "P", CIP) == {L}


async def test_everything_goes_with_the_last_service(lab: Lab) -> None:
    await lab.have(
        sticky(type="LoadBalancer", status=[{"ip": LB1}], loadBalancerSourceRanges=["203.0.113.0/24", "10.0.0.0/8"]),
        slices("L R"),
        service("six", clusterIP=CIP6),
        slices("l r", "six", family="IPv6"),
    )
    await lab.have()
    for family in ("ip", "ip6"):
        for name in ("vips", "endpoints", "slots", "cluster-ips", "hairpin", "source-ranges"):
            kind = "map" if name in ("vips", "endpoints", "slots") else "set"
            assert "elements" not in lab.node.run("nft", "list", kind, family, "causeway-services", name)


async def test_nft_lists_every_rule_we_write(lab: Lab) -> None:
    """Some versions of nft abort on rules they did not write themselves; ours must not be such rules."""
    ranges = {"loadBalancerSourceRanges": ["203.0.113.0/24", "fd99::/64"]}
    addresses = {"clusterIPs": [CIP, CIP6], "type": "LoadBalancer", "status": [{"ip": LB1}, {"ip": LB6}]}
    await lab.have(
        sticky(**addresses, **ranges, externalTrafficPolicy="Local", internalTrafficPolicy="Local"),
        slices("L R"),
        slices("l r", family="IPv6"),
        service("empty", clusterIP=CIP2),
    )
    assert lab.ask("X", LB1, 80)[0] == L
    listed = lab.node.run("nft", "list", "ruleset")
    for chain in (
        "external-local-2-1-sticky-100-ranged",
        "external-local-2-1-sticky-100",
        "internal-local-1-1-sticky-100",
    ):
        assert listed.count(f"chain {chain} ") == 2, f"{chain} in both families"
    assert json.loads(lab.node.run("nft", "-j", "list", "ruleset"))["nftables"]


async def test_tables_can_be_taken_away(lab: Lab) -> None:
    await lab.have(service(), slices("L"))
    lab.dataplane.delete_tables()
    assert "causeway" not in lab.node.run("nft", "list", "ruleset")


# -- health checks


def test_health_check_node_port(lab: Lab) -> None:
    """A load balancer outside asks the node. Run in the node's namespace, for that is where the server listens."""
    local = balanced(externalTrafficPolicy="Local", healthCheckNodePort=32000)

    async def check() -> tuple[int, int]:
        url = f"http://{NODE}:32000/"
        argv = ("curl", "-s", "-i", "-m", "5", url)
        said = await asyncio.to_thread(lab.client.run, *argv, check=False)
        if not said:
            return 0, 0
        head, _, body = said.partition("\n\n")
        assert "X-Content-Type-Options: nosniff" in head
        found = json.loads(body)
        assert found["service"] == {"namespace": "default", "name": "web"}
        return int(head.split()[1]), found["localEndpoints"]

    async def story() -> None:
        await lab.have(local, slices("L R ~M"))
        assert await check() == (200, 1)
        await lab.have(local, slices("~L R"))
        assert await check() == (503, 0)
        await lab.have(balanced(), slices("L R"))
        assert await check() == (0, 0), "closed with the Cluster policy"
        await lab.have(local, slices("L R"))
        assert await check() == (200, 1)
        await lab.have()
        assert await check() == (0, 0)

    inside(lab.node, lambda: asyncio.run(story()))
