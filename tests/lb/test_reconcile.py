"""The reconcile loop, on an event loop whose clock jumps: no test here waits."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from lb.cluster.objects import Key, Metadata, Service, ServicePort, ServiceSpec
from lb.cluster.store import ObjectStore
from lb.reconcile import ApplyFailed, reconcile_forever


class JumpingLoop(asyncio.SelectorEventLoop):
    """When there is nothing left to do, it is at once as late as the next timer says."""

    def __init__(self) -> None:
        self._now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing will ever happen again"
        self._loop.jump(timeout)
        return super().select(0)


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(work)


def service(name: str, port: int = 80) -> Service:
    metadata = Metadata(name=name, namespace="shop")
    return Service(metadata=metadata, spec=ServiceSpec(ports=(ServicePort(port=port),)))


class World:
    """Remembers when it was asked for what; `failing` says how often it is to fail."""

    def __init__(self, failing: int = 0, error: Callable[[], Exception] = lambda: ApplyFailed("the kernel is busy")):
        self.calls: list[tuple[float, list[str] | None]] = []
        self._failing, self._error = failing, error
        self.during: Callable[[], Awaitable[None]] | None = None

    async def apply(self, keys: Sequence[Key] | None) -> None:
        self.calls.append((asyncio.get_running_loop().time() - 1000, None if keys is None else [k.name for k in keys]))
        if self.during is not None:
            during, self.during = self.during, None
            await during()
        if self._failing:
            self._failing -= 1
            raise self._error()

    @property
    def asked(self) -> list[list[str] | None]:
        return [keys for _, keys in self.calls]


def start(store: ObjectStore, world: World, **options: Any) -> tuple["asyncio.Task[None]", asyncio.Event]:
    synced = asyncio.Event()
    return asyncio.create_task(reconcile_forever(store, [Service], world.apply, synced=synced, **options)), synced


def test_nothing_is_applied_before_the_first_sync_then_everything() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world)
        store.put(service("a"))
        await asyncio.sleep(100)
        assert world.asked == []
        synced.set()
        await asyncio.sleep(1)
        assert world.asked == [None]

    run(scenario())


def test_changes_are_applied_by_key_and_together() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world)
        synced.set()
        await asyncio.sleep(1)
        store.put(service("a"))
        store.put(service("b"))
        store.put(service("a", 81))
        await asyncio.sleep(1)
        store.remove(service("b").key)
        await asyncio.sleep(1)
        assert world.asked == [None, ["a", "b"], ["b"]]

    run(scenario())


def test_a_change_during_apply_is_applied_after_it() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()

        async def during() -> None:
            store.put(service("a"))
            await asyncio.sleep(5)
            store.put(service("b"))

        world.during = during
        _, synced = start(store, world)
        synced.set()
        await asyncio.sleep(10)
        assert world.asked == [None, ["a", "b"]]

    run(scenario())


def test_the_first_change_is_applied_at_once_and_a_burst_is_gathered() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world, settle_seconds=0.5)
        synced.set()
        await asyncio.sleep(1)
        for number in range(4):
            store.put(service(f"s{number}"))
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        assert world.asked == [None, ["s0"], ["s1", "s2", "s3"]]
        assert [at for at, _ in world.calls[1:]] == [pytest.approx(1.0), pytest.approx(1.5)]

    run(scenario())


def test_a_failure_is_tried_again_as_a_full_pass(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World(failing=3)
        _, synced = start(store, world, retry_seconds=2.0)
        synced.set()
        await asyncio.sleep(5)
        store.put(service("a"))
        await asyncio.sleep(5)
        store.put(service("b"))
        await asyncio.sleep(5)
        # "a" came while it failed: the full pass has it, and it is not asked for again.
        assert world.calls == [(0, None), (2, None), (4, None), (6, None), (10, ["b"])]

    with caplog.at_level("INFO"):
        run(scenario())
    assert [record.message for record in caplog.records] == [
        "the kernel is busy; trying again every 2 s",
        "it works again: the kernel is busy",
    ]


def test_a_failed_key_brings_a_full_pass() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world)
        synced.set()
        await asyncio.sleep(1)
        world._failing = 1
        store.put(service("a"))
        await asyncio.sleep(5)
        assert world.asked == [None, ["a"], None]

    run(scenario())


def test_drift_is_repaired_also_when_changes_never_stop() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world, drift_seconds=10.0)
        synced.set()
        for number in range(25):
            await asyncio.sleep(1)
            store.put(service("a", 100 + number))
        await asyncio.sleep(0.1)
        assert [at for at, keys in world.calls if keys is None] == pytest.approx([0, 10, 20], abs=0.01)

    run(scenario())


def test_drift_is_repaired_when_nothing_changes() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world, drift_seconds=10.0)
        synced.set()
        await asyncio.sleep(35)
        assert world.asked == [None] * 4
        assert [at for at, _ in world.calls] == pytest.approx([0, 10, 20, 30], abs=0.01)

    run(scenario())


def test_without_drift_repair_it_rests() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        _, synced = start(store, world)
        synced.set()
        await asyncio.sleep(1e6)
        assert world.asked == [None]

    run(scenario())


def test_other_exceptions_end_it_and_its_subscription() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World(failing=1, error=lambda: ValueError("a bug"))
        task, synced = start(store, world)
        synced.set()
        with pytest.raises(ValueError, match="a bug"):
            await task
        assert store._subscriptions == []

    run(scenario())


def test_cancelling_ends_its_subscription() -> None:
    async def scenario() -> None:
        store, world = ObjectStore(), World()
        task, synced = start(store, world)
        synced.set()
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert store._subscriptions == []

    run(scenario())
