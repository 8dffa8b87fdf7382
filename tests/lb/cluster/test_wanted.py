"""Which Secrets are wanted, and how to read many of them."""

from lb.cluster.objects import Key
from lb.cluster.wanted import FEW, OBJECTS_PER_REQUEST, Reading, Wanted, plan_readings


def keys(count: int, namespace: str = "shop") -> list[Key]:
    return [Key("Secret", namespace, f"s{number}") for number in range(count)]


def test_wanting_and_releasing_are_told_once() -> None:
    wanted, told = Wanted(), []
    wanted.on_want = lambda key: told.append(("want", key.name))
    wanted.on_release = lambda key: told.append(("release", key.name))
    (key,) = keys(1)
    wanted.release(key)
    for _ in range(2):
        wanted.want(key)
    assert wanted.keys == {key}
    for _ in range(2):
        wanted.release(key)
    assert told == [("want", "s0"), ("release", "s0")]
    assert not wanted.keys


def test_a_few_are_asked_for_by_name() -> None:
    few = keys(FEW)
    assert plan_readings(few, few, everywhere=True) == [Reading("shop", each.name, frozenset([each])) for each in few]


def test_many_of_all_there_are() -> None:
    many = [key for number in range(40) for key in keys(1, f"n{number}")]
    there = [*many, *keys(40 * (OBJECTS_PER_REQUEST - 1))]
    assert plan_readings(many, there, everywhere=True) == [Reading("", "", frozenset(many))]
    # One more that nobody wants, or a part of the cluster alone: each by its name.
    for found, everywhere in (([*there, Key("Secret", "shop", "more")], True), (there, False)):
        planned = plan_readings(many, found, everywhere=everywhere)
        assert [(each.namespace, each.name) for each in planned] == [(each.namespace, each.name) for each in many]


def test_many_of_one_namespace() -> None:
    many, few = keys(30), keys(3, "cart")
    elsewhere = keys(1000, "other")
    planned = plan_readings([*few, *many], [*many, *few, *elsewhere], everywhere=True)
    assert planned[-1] == Reading("shop", "", frozenset(many))
    assert [(each.namespace, each.name) for each in planned[:-1]] == [("cart", each.name) for each in few]


def test_who_may_not_list_asks_for_each() -> None:
    planned = plan_readings(keys(50), keys(50), everywhere=True, lists=False)
    assert all(each.name for each in planned)
    assert len(planned) == 50
