"""What a change costs does not depend on how much there is: counted in steps of the interpreter, not timed."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from ingress.routes import compile as compiling
from ingress.routes.classes import STANDALONE
from ingress.routes.model import Changes
from ingress.run import Plan, Proxy
from ingress.start import FlagSource
from lb.cluster.objects import Key, Object
from tests.ingress.state import endpoint_slice, ingress, service, store_of

FEW, MANY = 20, 400


def town(count: int) -> list[Object]:
    """An Ingress for each Service, one with TLS and one of a DNS name among them."""
    found: list[Object] = []
    for number in range(count):
        tls = {"tls": [{"hosts": ["h0.example"], "secretName": "none"}]} if not number else {}
        found.append(ingress(f"i{number}", {f"h{number}.example": [("/", "Prefix", f"s{number}")]}, **tls))
        found += service(f"s{number}", f"10.1.{number // 250}.{number % 250 + 1}:8080")
    return [*found, *service("away", type="ExternalName", externalName="away.example")]


class Running:
    """Everything of the supervisor process between the store and the workers; there are none."""

    def __init__(self, count: int) -> None:
        self.store = store_of(*town(count))
        self.proxy = Proxy(Plan(store=self.store, source=FlagSource(), selection=STANDALONE, listeners=[], workers=0))
        self.published: list[Changes] = []
        publish = self.proxy.controller.publish
        self.proxy.controller.publish = lambda changes: (self.published.append(changes), publish(changes))[1]
        self.proxy.controller.refresh()
        self.subscription = self.store.subscribe(compiling.KINDS)
        self.subscription.take()

    def change(self, made: Object | Key) -> None:
        if isinstance(made, Key):
            self.store.remove(made)
        else:
            self.store.put(made)
        self.proxy.controller.refresh(self.subscription.take())


def steps(work: Callable[[], None]) -> int:
    """How many instructions of Python `work` takes."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


CHANGES: dict[str, Object | Key] = {
    "endpoint": endpoint_slice("s7", "10.2.0.1:8080"),
    "new-ingress": ingress("new", {"new.example": [("/", "Prefix", "s7")]}),
    "changed-ingress": ingress("i7", {"h7.example": [("/x", "Prefix", "s8")]}),
    "ingress-of-a-name": ingress("new", {"new.example": [("/", "Prefix", "away")]}),
    "ingress-with-a-problem": ingress("new", {"new.example": [("/", "Prefix", "nobody")]}),
    "ingress-gone": Key("Ingress", "shop", "i7"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_the_work_of_a_change_does_not_grow_with_the_cluster(name: str) -> None:
    few, many = (steps(partial(Running(count).change, CHANGES[name])) for count in (FEW, MANY))
    assert many < few * 1.2


async def test_one_changed_ingress_is_one_compiled_and_one_published(monkeypatch: pytest.MonkeyPatch) -> None:
    running, work = Running(FEW), list[str]()

    def counted(name: str) -> None:
        real = getattr(compiling, name)
        monkeypatch.setattr(compiling, name, lambda *args, **more: (work.append(name), real(*args, **more))[1])

    for name in ("read_claims", "compile_host", "compile_backend"):
        counted(name)
    running.change(ingress("i7", {"h7.example": [("/x", "Prefix", "s8")]}))
    assert work == ["read_claims", "compile_host", "compile_backend"]
    changes = running.published[-1]
    assert list(changes.hosts) == ["h7.example"]
    assert changes.backends == {"shop/s7:80": None}, "s8 has been known before"
    work.clear()
    running.change(endpoint_slice("s8", "10.2.0.1:8080"))
    assert work == ["compile_backend"]
    assert (list(running.published[-1].hosts), list(running.published[-1].backends)) == ([], ["shop/s8:80"])


async def test_a_look_at_everything_is_taken_a_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And mends what an event that was lost has left behind."""
    running = Running(FEW)
    running.store.put(ingress("late", {"late.example": [("/", "Prefix", "s1")]}))
    running.store.remove(Key("Ingress", "shop", "i3"))
    running.subscription.take()
    taken: list[int] = []
    refresh = running.proxy.controller.refresh
    monkeypatch.setattr(running.proxy.controller, "refresh", lambda keys: (taken.append(len(keys)), refresh(keys))[1])
    await running.proxy.controller.look_again()
    assert max(taken) <= 10
    hosts = running.proxy.table.hosts
    assert "late.example" in hosts
    assert "h3.example" not in hosts


async def test_what_a_pass_that_fails_has_changed_is_told_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(FEW)

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(compiling, "compile_backend", broken)
        with pytest.raises(Exception, match="could not be compiled"):
            running.change(ingress("new", {"new.example": [("/", "Prefix", "s7")]}))
    running.change(endpoint_slice("s7", "10.2.0.1:8080"))
    assert "new.example" in running.published[-1].hosts
