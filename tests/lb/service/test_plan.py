"""Operations, and that they add up: a table that takes every operation always is what the plan says it is."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.cluster.objects import EndpointSlice, Key, Service, decode
from lb.nftables.expressions import IPV4, IPV6
from lb.nftables.messages import Kind as Message
from lb.nftables.messages import Transaction, elements_in
from lb.service.classes import Class, Kind, class_of_chain
from lb.service.elements import Elements, number, vip_key
from lb.service.layout import CLASS_BASE, LOCAL_BASE, SLOT_BASE
from lb.service.plan import Operations, Present, TablePlan
from lb.service.vips import Vip, address_of, cluster_ips_of, facts_of, wanted_vips
from tests.lb.service.expectations import CIP, CIP6, EXTERNAL, balanced, node_document, service, slices

FACTS = facts_of(decode(node_document()), "one")  # type: ignore[arg-type]


def put(plan: TablePlan, *documents: dict[str, Any]) -> None:
    """Update the plan with a Service and its slices."""
    found, *rest = map(decode, documents)
    assert isinstance(found, Service)
    of_it = [each for each in rest if isinstance(each, EndpointSlice)]
    version = 4 if plan.family is IPV4 else 6
    plan.update(
        found.key,
        [each for each in wanted_vips(found, of_it, FACTS) if each.vip.address.version == version],
        [each for each in cluster_ips_of(found) if each.version == version],
    )


class Table:
    """A table that checks, as the kernel does, that what is deleted is there and what is added is not."""

    def __init__(self) -> None:
        self.elements: Elements = {}
        self.classes: dict[int, str] = {}

    def take(self, operations: Operations) -> None:
        for class_number, found in operations.classes:
            assert self.classes.setdefault(class_number, found.chain) == found.chain
        for name, keys in operations.delete.items():
            for key, data in keys.items():
                assert self.elements.pop((name, key)) == data
        for name, new in operations.add.items():
            for key, data in new.items():
                assert (name, key) not in self.elements
                self.elements[name, key] = data

    @property
    def present(self) -> Present:
        return Present(dict(self.elements), dict(self.classes))


def done(plan: TablePlan) -> Operations:
    return plan.take()[0]


def count(operations: Operations) -> tuple[int, int]:
    return sum(map(len, operations.delete.values())), sum(map(len, operations.add.values()))


KEY = vip_key(Vip(address_of(CIP), "TCP", 80))  # type: ignore[arg-type]


def endpoint_key(index: int) -> bytes:
    return KEY + number(index)


# -- how many operations


def test_a_service_with_one_endpoint() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R"))
    operations = done(plan)
    assert operations.classes == [(CLASS_BASE, Class(Kind.INTERNAL, 1, 0))]
    assert operations.picks == [(False, 1, 0)]
    assert operations.add["vips"] == {KEY: number(CLASS_BASE)}
    assert list(operations.add["endpoints"]) == [endpoint_key(0)]
    assert count(operations) == (0, 3)  # and the ClusterIP


def test_nothing_changed_is_no_operation() -> None:
    plan = TablePlan(IPV4)
    put(plan, balanced(), slices("L R"))
    assert done(plan)
    put(plan, balanced(), slices("L R"))
    assert not done(plan)


def test_an_endpoint_more_is_one_element_and_the_class() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R"))
    done(plan)
    put(plan, service(), slices("R S"))
    operations = done(plan)
    assert list(operations.delete) == ["vips"]
    assert list(operations.add["endpoints"]) == [endpoint_key(1)]
    assert count(operations) == (1, 2)


def test_an_endpoint_less_moves_the_last_one_into_the_hole() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R S L M"))
    before = dict(plan.placed[KEY].elements())
    done(plan)
    put(plan, service(), slices("S L M"))
    operations = done(plan)
    assert operations.add["endpoints"] == {endpoint_key(0): before["endpoints", endpoint_key(3)]}
    assert set(operations.delete["endpoints"]) == {endpoint_key(0), endpoint_key(3)}
    assert count(operations) == (3, 2)


def test_what_a_packet_may_be_led_to_comes_before_and_goes_after() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R S L M"))
    done(plan)
    put(plan, service(), slices("S L M"))
    operations = done(plan)
    steps = [Transaction(IPV4, "t") for _ in range(3)]
    operations.prepare(steps[0], FACTS.detection)
    operations.switch(steps[1])
    operations.clear(steps[2])
    written = [
        [
            (each.kind, each.about.rpartition(" ")[2], [key for key, _, _ in elements_in(each.body)])
            for each in step.messages
        ]
        for step in steps
    ]
    assert (Message.NEWCHAIN, "internal-3", []) in written[0]
    assert sorted(written[1]) == [
        (Message.NEWSETELEM, "endpoints", [endpoint_key(0)]),
        (Message.NEWSETELEM, "vips", [KEY]),
        (Message.DELSETELEM, "endpoints", [endpoint_key(0)]),
        (Message.DELSETELEM, "vips", [KEY]),
    ]
    assert written[2] == [(Message.DELSETELEM, "endpoints", [endpoint_key(3)])]


def test_a_replaced_endpoint_takes_the_place_of_the_old_one() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R L"))
    done(plan)
    put(plan, service(), slices("S L"))
    operations = done(plan)
    assert set(operations.add) == {"endpoints"}
    assert list(operations.add["endpoints"]) == [endpoint_key(0)]
    assert count(operations) == (1, 1)


def test_classes_are_shared_and_not_made_twice() -> None:
    plan = TablePlan(IPV4)
    put(plan, service(), slices("R"))
    done(plan)
    put(plan, service("other", clusterIP="10.96.0.11"), slices("S", "other"))
    operations = done(plan)
    assert not operations.classes
    assert not operations.picks


def test_the_local_policy_has_places_of_its_own() -> None:
    plan = TablePlan(IPV4)
    put(
        plan,
        service(type="LoadBalancer", status=[{"ip": "198.51.100.7"}], externalTrafficPolicy="Local"),
        slices("L R"),
    )
    key = vip_key(Vip(address_of("198.51.100.7"), "TCP", 80))  # type: ignore[arg-type]
    endpoints = done(plan).add["endpoints"]
    assert {endpoint for endpoint in endpoints if endpoint.startswith(key)} == {
        key + number(0), key + number(1), key + number(LOCAL_BASE),
    }  # fmt: skip


def test_sticky_endpoints_keep_their_slots() -> None:
    plan = TablePlan(IPV4)
    sticky = service(sessionAffinity="ClientIP")
    put(plan, sticky, slices("L M R S"))
    before = dict(plan.placed[KEY].elements())
    put(plan, sticky, slices("S M"))
    after = dict(plan.placed[KEY].elements())
    slots = {data: key for (name, key), data in before.items() if name == "endpoints"}
    assert all(slots[data] == key for (name, key), data in after.items() if name == "endpoints")
    assert ("slots", KEY + number(SLOT_BASE)) in after
    assert ("slots", KEY + number(SLOT_BASE + 2)) not in after


def test_only_the_family_asked_for() -> None:
    plan = TablePlan(IPV6)
    put(plan, service(clusterIP=CIP6), slices("l r", family="IPv6"), slices("L"))
    assert len(plan.placed) == 1
    assert len(done(plan).add["endpoints"]) == 2


# -- who owns what


def test_a_shared_element_goes_with_the_last_service() -> None:
    plan = TablePlan(IPV4)
    table = Table()
    put(plan, service(), slices("L"))
    put(plan, service("other", clusterIP="10.96.0.11"), slices("L", "other"))
    table.take(done(plan))
    assert sum(name == "hairpin" for name, _ in table.elements) == 1
    plan.update(Key("Service", "default", "web"), [])
    table.take(done(plan))
    assert sum(name == "hairpin" for name, _ in table.elements) == 1
    plan.update(Key("Service", "default", "other"), [])
    table.take(done(plan))
    assert not table.elements
    assert not plan.services()


def test_an_address_passes_from_one_service_to_the_next_in_one_transaction() -> None:
    plan = TablePlan(IPV4)
    table = Table()
    put(plan, service("a", externalIPs=[EXTERNAL]), slices("L", "a"))
    put(plan, service("b", clusterIP="10.96.0.11", externalIPs=[EXTERNAL]), slices("R S", "b"))
    table.take(done(plan))
    ((loser, winner),) = plan.losers()
    assert (loser.service.name, winner.service.name) == ("b", "a")
    plan.update(Key("Service", "default", "a"), [])
    table.take(done(plan))
    assert not plan.losers()
    assert table.elements == everything(plan)


# -- starting on what is there


def test_restart_changes_nothing_and_keeps_the_places() -> None:
    plan, table = TablePlan(IPV4), Table()
    documents = (balanced(sessionAffinity="ClientIP", externalTrafficPolicy="Local"), slices("L M R"))
    put(plan, *documents)
    put(plan, documents[0], slices("R M"))
    put(plan, documents[0], slices("L R M"))
    table.take(done(plan))
    again = TablePlan(IPV4)
    again.adopt(table.present)
    put(again, *documents)
    operations = done(again)
    assert count(operations) == (0, 0)
    in_use = {(class_number, found.chain) for class_number, found in operations.classes}
    assert in_use < set(table.classes.items()), "under the numbers they have; two are out of use"


def test_a_half_filled_table_gets_what_is_missing_and_loses_what_is_too_much() -> None:
    plan, table = TablePlan(IPV4), Table()
    put(plan, service(), slices("L R"))
    table.take(done(plan))
    whole = dict(table.elements)
    del table.elements["endpoints", endpoint_key(1)]
    table.elements["cluster-ips", bytes(4)] = b""
    again = TablePlan(IPV4)
    again.adopt(table.present)
    put(again, service(), slices("L R"))
    operations = done(again)
    assert count(operations) == (1, 1)
    table.take(operations)
    assert table.elements == whole


def test_numbers_that_lead_to_chains_of_others_are_removed_and_not_used() -> None:
    plan = TablePlan(IPV4)
    plan.adopt(Present({}, {CLASS_BASE: "of-someone-else", CLASS_BASE + 1: "internal-1"}))
    put(plan, service(), slices("L"))
    put(plan, service("other", clusterIP="10.96.0.11"), slices("L R", "other"))
    operations = done(plan)
    assert operations.foreign == [CLASS_BASE]
    assert operations.classes == [
        (CLASS_BASE + 1, Class(Kind.INTERNAL, 1, 0)), (CLASS_BASE + 2, Class(Kind.INTERNAL, 2, 0)),
    ]  # fmt: skip


@pytest.mark.parametrize("others", [0, 300])
def test_a_change_costs_the_same_however_many_services_there_are(others: int) -> None:
    plan = TablePlan(IPV4)
    for each in range(others):
        name = f"other-{each}"
        put(plan, service(name, clusterIP=f"10.97.{each >> 8}.{each & 255}"), slices("L R", name))
    put(plan, service(), slices("L R"))
    done(plan)
    put(plan, service(), slices("L R S"))
    operations = done(plan)
    assert (len(operations.classes), count(operations)) == (1, (1, 2))


def test_unused_classes_are_forgotten_with_their_chains() -> None:
    plan = TablePlan(IPV4)
    for letters in ("L", "L R", "L R S"):
        put(plan, service(), slices(letters))
    done(plan)
    assert {found.cluster for _, found in plan.unused()} == {1, 2}
    keys, chains = plan.forget_unused()
    assert len(keys) == 2
    assert sorted(chains) == ["internal-1", "internal-2", "pick-1", "pick-2"]
    assert not plan.unused()
    put(plan, service(), slices("L"))
    assert [found.cluster for _, found in done(plan).classes] == [1]


# -- any sequence of changes


def everything(plan: TablePlan) -> Elements:
    """All elements that the plan's VIPs stand for, and those that Services share."""
    found = {place: data for each in plan.placed.values() for place, data in each.elements()}
    found.update(dict.fromkeys(plan._shared, b""))
    return found


def assert_well_formed(elements: Elements) -> None:
    """Indexes are dense, each endpoint stands once, every slot that is drawn leads to an endpoint."""
    by_vip: dict[tuple[str, bytes, int], list[tuple[int, bytes]]] = {}
    for (name, key), data in elements.items():
        if name in ("endpoints", "slots"):
            index = int.from_bytes(key[-4:], "little")
            base = index & (LOCAL_BASE | SLOT_BASE)
            by_vip.setdefault((name, key[:-4], base), []).append((index - base, data))
            if name == "slots":
                assert ("endpoints", key[:-4] + data) in elements
    for (name, _, base), entries in by_vip.items():
        if name == "slots" or not base & SLOT_BASE:
            assert sorted(index for index, _ in entries) == list(range(len(entries)))
        assert len({data for _, data in entries}) == len(entries)


SPECS: Sequence[dict[str, Any]] = (
    {}, {"externalTrafficPolicy": "Local"}, {"internalTrafficPolicy": "Local"}, {"sessionAffinity": "ClientIP"},
    {"sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local"}, {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
)  # fmt: skip
NAMES = ("a", "b", "c")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), restarts=st.booleans())
def test_any_sequence_of_changes_adds_up(seed: int, restarts: bool) -> None:
    draw = random.Random(seed)
    plan, table = TablePlan(IPV4), Table()
    wanted: dict[str, tuple[dict[str, Any], dict[str, Any]] | None] = dict.fromkeys(NAMES)
    for _ in range(25):
        name = draw.choice(NAMES)
        if draw.random() < 0.15:
            wanted[name] = None
            plan.update(Key("Service", "default", name), [])
        else:
            letters = draw.sample(
                [f"{how}{which}" for which in "LMKRS" for how in ("", "", "~", "-")], draw.randrange(7)
            )
            once = {each[-1]: each for each in letters}
            made = balanced(name, **draw.choice(SPECS)), slices(" ".join(once.values()), name)
            made[0]["spec"]["clusterIP"] = f"10.96.0.{20 + NAMES.index(name)}"
            wanted[name] = made
            put(plan, *made)
        if draw.random() < 0.7:
            table.take(done(plan))
            assert table.elements == everything(plan)
            assert_well_formed(table.elements)
            if restarts and draw.random() < 0.2:
                plan = TablePlan(IPV4)
                plan.adopt(table.present)
                for each in wanted.values():
                    if each:
                        put(plan, *each)
                assert count(done(plan)) == (0, 0), "a restart finds everything as it is"


@pytest.mark.parametrize(
    "found",
    [
        Class(Kind.INTERNAL, 0, 0),
        Class(Kind.INTERNAL_LOCAL, 1, 3),
        Class(Kind.EXTERNAL, 5000, 0, 10800),
        Class(Kind.EXTERNAL_LOCAL, 4, 2, 1, True),
        Class(Kind.EXTERNAL, 1, 0, 0, True),
    ],
)
def test_a_chain_name_says_all_of_its_class(found: Class) -> None:
    assert class_of_chain(found.chain) == found


@pytest.mark.parametrize("name", ["pick-4", "services", "internal", "internal-x", "external-4-2", ""])
def test_other_chains_are_no_class(name: str) -> None:
    assert class_of_chain(name) is None
